"""What the image of the local hosts takes over from the machine, and when it is built again."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.gym.platform.plugins.module_utils import local_image as image

BASE = image.Base("bookworm", ("deb http://mirror bookworm main",), ("systemd",), {"etc/hosts": b"a"}, b"true")
BAKE = image.Bake("gym-host:base-1", ("redis-server",), {"queue": b"x==1"}, b"true")
ONE = "-----BEGIN CERTIFICATE-----\nMIIA\nBBBB\n-----END CERTIFICATE-----"
TWO = "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    "changed",
    [
        replace(BASE, suite="trixie"),
        replace(BASE, sources=("deb http://other bookworm main",)),
        replace(BASE, packages=("systemd", "dbus")),
        replace(BASE, files={"etc/hosts": b"b"}),
        replace(BASE, script=b"false"),
    ],
)
def test_the_plain_image_is_named_by_all_that_is_in_it(changed: image.Base) -> None:
    assert changed.tag != BASE.tag == replace(BASE).tag


@pytest.mark.parametrize(
    "changed",
    [
        replace(BAKE, base="gym-host:base-2"),
        replace(BAKE, packages=("redis-server", "haproxy")),
        replace(BAKE, requirements={"queue": b"x==2"}),
        replace(BAKE, script=b"false"),
    ],
)
def test_the_baked_image_is_named_by_all_that_is_in_it(changed: image.Bake) -> None:
    assert changed.tag != BAKE.tag == replace(BAKE).tag


def test_sources_are_those_of_the_release_once_each() -> None:
    listing = """
deb http://mirror/debian bookworm main
deb http://mirror/debian bookworm main
deb http://mirror/debian-security  bookworm-security main
deb http://mirror/debian bookworm-backports main
deb http://mirror/debian trixie main
"""
    assert image.debian_sources(listing, "bookworm") == (
        "deb http://mirror/debian bookworm main",
        "deb http://mirror/debian-security bookworm-security main",
    )


def test_apt_keeps_its_proxy_and_nothing_else() -> None:
    dump = """Acquire "";
Acquire::http::Proxy "http://proxy:3142";
Acquire::https::Proxy::mirror "DIRECT";
Acquire::https::Verify-Peer "true";
Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";
Dir::Cache "var/cache/apt";
"""
    assert image.apt_settings(dump).splitlines() == [
        'Acquire::http::Proxy "http://proxy:3142";',
        'Acquire::https::Proxy::mirror "DIRECT";',
        'Acquire::https::Verify-Peer "true";',
    ]


def test_only_certificates_that_debian_lacks_are_extra() -> None:
    bundle = f"{ONE}\n{TWO}\n{TWO}\n"
    # The same certificate, broken into other lines.
    assert image.extra_certificates(bundle, [ONE.replace("MIIA\nBBBB", "MIIABBBB")]) == [TWO + "\n"]
    assert image.extra_certificates(bundle, [ONE, TWO]) == []


@pytest.mark.parametrize(
    ("listing", "bundle", "expected"),
    [
        ("", None, ""),
        ("global.index-url='https://mirror/simple'", None, "[global]\nindex-url = https://mirror/simple\n"),
        (":env:.index-url='https://mirror/simple'", "/b", "[global]\nindex-url = https://mirror/simple\ncert = /b\n"),
        ("global.extra-index-url='file:///opt/simple https://two'", None, "[global]\nextra-index-url = https://two\n"),
        ("global.extra-index-url='file:///opt/simple'\nglobal.find-links='/opt/wheels'", None, ""),
    ],
)
def test_pip_asks_the_same_index_but_no_local_directory(listing: str, bundle: str | None, expected: str) -> None:
    assert image.pip_configuration(listing, bundle) == expected


def test_the_context_holds_what_the_dockerfile_names(tmp_path: Path) -> None:
    (tmp_path / "queue").mkdir()
    (tmp_path / "queue" / "x-1-py3-none-any.whl").write_bytes(b"wheel")
    with tarfile.open(fileobj=image.build_context(BAKE, tmp_path)) as archive:
        assert archive.getnames() == [
            "Dockerfile",
            "bake/bake.sh",
            "bake/queue/requirements.txt",
            "bake/queue/x-1-py3-none-any.whl",
        ]
        dockerfile = archive.extractfile("Dockerfile")
        assert dockerfile is not None
        lines = dockerfile.read().decode().splitlines()
    assert lines[0] == "FROM gym-host:base-1"
    assert lines[-1] == 'RUN ["sh", "/bake/bake.sh", "redis-server"]'


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("dpkg: error: write failed: No space left on device", "The disk is full: /here has no space left"),
        ("a\nE: Unable to locate package nonsense\nb", "E: Unable to locate package nonsense"),
        ("one\ntwo\nthree\nfour", "two | three | four"),
        ("", "nothing was said"),
    ],
)
def test_the_end_of_a_log_becomes_one_sentence(trouble: str, words: str) -> None:
    assert words in image.explain(trouble, "/here")
