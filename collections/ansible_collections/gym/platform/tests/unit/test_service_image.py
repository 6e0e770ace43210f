"""A version follows from the content, a build does only what is missing, and a secret is on no command line."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader
from ansible_collections.gym.platform.plugins.module_utils import service_image as image
from ansible_collections.gym.platform.plugins.module_utils.image_provenance import Build, said
from ansible_collections.gym.platform.plugins.module_utils.local_engine import Engine, EngineError
from ansible_collections.gym.platform.plugins.modules.service_image import (
    Builder,
    BuildError,
    Registry,
    Workshop,
    installer_of,
)

BASE = image.Base("bookworm", ("ca-certificates", "python3-minimal"))
BUILD = Build(
    builder="urn:example:builder",
    invocation="",
    started="2026-01-31T10:00:00Z",
    repository="",
    commit="",
    folder="service",
    requirements_sha256="",
    suite=BASE.suite,
    packages=list(BASE.packages),
    python="3.11",
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make a small service."""
    folder = tmp_path / "service"
    (folder / "src" / "package").mkdir(parents=True)
    (folder / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    (folder / "requirements.txt").write_text("")
    (folder / "src" / "package" / "__init__.py").write_text("")
    (folder / "src" / "package" / "main.py").write_text("print(1)\n")
    return folder


def test_a_version_is_the_same_wherever_the_folder_is(source: Path, tmp_path: Path) -> None:
    version = image.source_version(source, BASE)
    moved = source.rename(tmp_path / "elsewhere")
    os.utime(moved / "Dockerfile", (0, 0))
    assert image.source_version(moved, BASE) == version
    assert len(version) == 12


def test_what_is_not_shipped_does_not_count(source: Path) -> None:
    version = image.source_version(source, BASE)
    (source / "README.md").write_text("read me")
    (source / "tests").mkdir()
    (source / "tests" / "test_it.py").write_text("")
    for cache in ("__pycache__", ".mypy_cache", "package.egg-info"):
        (source / "src" / cache).mkdir()
        (source / "src" / cache / "left.txt").write_text("")
    (source / "src" / "package" / "old.pyc").write_text("")
    assert image.source_version(source, BASE) == version


@pytest.mark.parametrize("change", ["content", "name", "boundary", "requirements", "Dockerfile", "suite", "packages"])
def test_everything_that_is_shipped_counts(source: Path, change: str) -> None:
    version = image.source_version(source, BASE)
    base, package = BASE, source / "src" / "package"
    match change:
        case "content":
            (package / "main.py").write_text("print(2)\n")
        case "name":
            (package / "main.py").rename(package / "other.py")
        case "boundary":  # the same bytes, cut elsewhere
            (package / "__init__.py").write_text("print(1)\n")
            (package / "main.py").write_text("")
        case "requirements":
            (source / "requirements.txt").write_text("starlette==1\n")
        case "Dockerfile":
            (source / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nUSER 1\n")
        case "suite":
            base = image.Base("trixie", BASE.packages)
        case "packages":
            base = image.Base(BASE.suite, (*BASE.packages, "tzdata"))
    assert image.source_version(source, base) != version


def test_an_incomplete_folder_is_refused_by_name(source: Path) -> None:
    (source / "requirements.txt").unlink()
    with pytest.raises(image.SourceError, match=r"has no requirements\.txt; a service's folder has Dockerfile"):
        image.source_version(source, BASE)


def test_the_lookup_names_a_version(source: Path) -> None:
    lookup = lookup_loader.get("gym.platform.source_version")
    found = lookup.run([str(source)], suite=BASE.suite, packages=list(BASE.packages))
    assert found == [image.source_version(source, BASE)]
    with pytest.raises(AnsibleError, match="takes one folder, got 2"):
        lookup.run([str(source), str(source)])
    with pytest.raises(AnsibleError, match="has no Dockerfile"):
        lookup.run([str(source / "src")])


def test_the_context_is_the_same_bytes_every_time(source: Path, tmp_path: Path) -> None:
    site_packages = tmp_path / "site-packages"
    site_packages.mkdir()
    (site_packages / "module.py").write_text("")

    def context() -> bytes:
        stream = io.BytesIO()
        image.build_context(source, site_packages, stream)
        return stream.getvalue()

    first = context()
    os.utime(site_packages / "module.py", (0, 0))
    assert context() == first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert archive.getnames() == [
            "Dockerfile",
            "requirements.txt",
            "src/package/__init__.py",
            "src/package/main.py",
            "site-packages/module.py",
        ]
        assert {(entry.uid, entry.mtime) for entry in archive} == {(0, 0)}


def test_the_base_keeps_no_package_manager_s_configuration() -> None:
    command = image.mmdebstrap_command(BASE, Path("out.tar"), Path("sources.list"), ['Acquire::http::Proxy "p";'])
    assert command[-3:] == ["bookworm", "out.tar", "sources.list"]
    assert '--aptopt=Acquire::http::Proxy "p";' in command
    assert any("/etc/apt" in word and "-delete" in word for word in command if word.startswith("--customize-hook"))


def test_requirements_are_installed_for_the_image_and_not_for_this_machine() -> None:
    uv = image.install_command(["/opt/uv", "pip"], Path("r.txt"), Path("t"), "3.11")
    pip = image.install_command(["python3", "-m", "pip"], Path("r.txt"), Path("t"), "3.11")
    machine = os.uname().machine
    for command in (uv, pip):
        assert {"--require-hashes", "--no-deps", "--only-binary=:all:", "--python-version=3.11"} <= set(command)
    assert f"{machine}-manylinux_2_28" in uv
    assert f"manylinux_2_28_{machine}" in pip


def test_uv_is_used_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert installer_of("uv")[1:3] == ["-m", "pip"]
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert installer_of("uv") == [str(program), "pip"]
    assert installer_of("/nowhere/uv") == [str(program), "pip"]


# -- the engine


class FakeEngine:
    """An engine with images, which remembers what it was asked to make."""

    def __init__(self, *images: str) -> None:
        self.images = set(images)
        self.made: list[str] = []
        self.labels: dict[str, str] = {}
        self.error = ""

    def call(self, method: str, path: str, accept: tuple[int, ...] = ()) -> Any:
        name = path.removeprefix("/images/").removesuffix("/json").replace("%3A", ":")
        return {"Id": f"sha256:{name}"} if name in self.images else None

    def stream(self, method: str, path: str, query: dict[str, Any], body: Any) -> Iterator[dict[str, Any]]:
        yield {"stream": "Step 1/2\n"}
        if self.error:
            raise EngineError(self.error)
        self.made.append(query["t"])
        self.labels = query["labels"]
        self.images.add(query["t"])


def builder(engine: FakeEngine, place: Path) -> Builder:
    return Builder(cast(Engine, engine), Workshop(place))


def build(engine: FakeEngine, source: Path, place: Path) -> None:
    installer = ["/bin/sh", "-c", 'mkdir -p "${8#--target=}"', "sh"]
    builder(engine, place).service("gym-api:1", BASE, source, installer, BUILD)


def test_an_image_is_built_once(source: Path, tmp_path: Path) -> None:
    engine = FakeEngine()
    build(engine, source, tmp_path / "cache")
    build(engine, source, tmp_path / "cache")
    assert engine.made == ["gym-api:1"]
    assert builder(engine, tmp_path / "cache").image_id("gym-api:1") == "sha256:gym-api:1"
    assert builder(engine, tmp_path / "cache").image_id("gym-api:2") is None
    assert said(engine.labels) == BUILD


def test_what_an_interrupted_build_left_is_cleared_away(source: Path, tmp_path: Path) -> None:
    left = tmp_path / "cache" / "building-abc" / "site-packages"
    left.mkdir(parents=True)
    build(FakeEngine(), source, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_failed_build_says_why(source: Path, tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.error = "write /layer: no space left on device"
    with pytest.raises(BuildError, match="The disk is full"):
        build(engine, source, tmp_path / "cache")
    with pytest.raises(BuildError, match="no-such-program is not installed"):
        builder(engine, tmp_path / "cache").service("gym-api:1", BASE, source, ["no-such-program"], BUILD)
    with pytest.raises(BuildError, match=r"Installing the requirements of the service failed: .*log: "):
        builder(engine, tmp_path / "cache").service("gym-api:1", BASE, source, ["false"], BUILD)


# -- the registry


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Have a registry behind a skopeo that knows one image, takes others, and notes its arguments."""
    programs, place = tmp_path / "bin", tmp_path / "registry"
    programs.mkdir()
    place.mkdir()
    (tmp_path / "pushed").touch()
    skopeo = programs / "skopeo"
    skopeo.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/arguments
for last; do :; done
case $1/$last in
    copy/*:refused) echo 'time="now" level=fatal msg="writing blob: \\"denied\\""' >&2; exit 1 ;;
    copy/*) echo "$last" >> {tmp_path}/pushed ;;
    *) grep -qxF "$last" {tmp_path}/pushed && echo sha256:abc && exit
       case $last in *:down) echo 'level=fatal msg="connection refused"' >&2; exit 1 ;; esac
       echo 'time="now" level=fatal msg="reading manifest: manifest unknown"' >&2; exit 2 ;;
esac
"""
    )
    skopeo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return Registry("10.0.0.1:5000", "platform", "hidden-password", "CERTIFICATE", place)


def test_an_image_is_pushed_and_known_by_its_digest(registry: Registry, tmp_path: Path) -> None:
    assert registry.digest("gym-api", "1") is None
    registry.push("gym-api", "1")
    assert registry.digest("gym-api", "1") == "sha256:abc"
    arguments = (tmp_path / "arguments").read_text()
    assert "docker-daemon:gym-api:1 docker://10.0.0.1:5000/gym-api:1" in arguments
    assert "hidden-password" not in arguments
    assert (tmp_path / "registry" / "certificates" / "ca.crt").read_text() == "CERTIFICATE"


def test_a_registry_that_fails_is_named_with_its_reason(registry: Registry) -> None:
    with pytest.raises(BuildError, match=r"^The registry 10\.0\.0\.1:5000 could not be asked: connection refused$"):
        registry.digest("gym-api", "down")
    with pytest.raises(BuildError, match=r'could not be given the image: writing blob: "denied"$'):
        registry.push("gym-api", "refused")
