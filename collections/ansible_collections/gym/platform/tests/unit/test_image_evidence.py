"""A bill of materials says what is in the image, provenance what its build said, and both are found in the registry."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from ansible_collections.gym.platform.plugins.module_utils.image_contents import (
    Contents,
    Package,
    bill_of_materials,
    contents,
)
from ansible_collections.gym.platform.plugins.module_utils.image_provenance import (
    LABEL,
    Build,
    public_address,
    said,
    statement,
)
from ansible_collections.gym.platform.plugins.module_utils.oci_referrers import INDEX, ReferrerError, Repository
from ansible_collections.gym.platform.plugins.modules.image_evidence import BILL, PROVENANCE, evidence, moment
from ansible_collections.gym.platform.plugins.modules.service_image import commit_of
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from requests.adapters import BaseAdapter

FILES = {
    "usr/lib/os-release": "ID=debian\nVERSION_CODENAME=bookworm\n",
    "var/lib/dpkg/status": (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u10\n\n"
        "Package: old\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    ),
    "opt/x/Typing_Extensions-4.1.dist-info/METADATA": (
        "Metadata-Version: 2.4\nName: Typing_Extensions\nVersion: 4.1\nLicense-Expression: PSF-2.0\n\nName: not-this\n"
    ),
    "opt/x/wordy-1.dist-info/METADATA": "Name: wordy\nVersion: 1\nLicense: " + "word " * 50 + "\n",
    "opt/x/wordy-1.dist-info/RECORD": "Name: not-this\nVersion: 2\n",
}
INSIDE = Contents(
    (
        Package("deb", "libc6", "2.36-9+deb12u10", "amd64"),
        Package("pypi", "typing-extensions", "4.1", licence="PSF-2.0"),
        Package("pypi", "wordy", "1"),
    ),
    "bookworm",
)
IMAGE, OTHER = (f"sha256:{digit * 64}" for digit in "ab")
CREATED = datetime(2026, 1, 31, 10, tzinfo=UTC)
BUILD = Build(
    builder="https://ci.example.com/runners/7",
    invocation="https://ci.example.com/jobs/42",
    started="2026-01-31T09:59:00Z",
    repository="https://git.example.com/gym/platform",
    commit="c" * 40,
    folder="examples/gym_api",
    requirements_sha256="d" * 64,
    suite="bookworm",
    packages=["python3-minimal"],
    python="3.11",
)


def archive(files: Mapping[str, str]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as written:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            written.addfile(entry, io.BytesIO(text.encode()))
    stream.seek(0)
    return stream


def test_packages_are_read_off_the_image() -> None:
    assert contents(archive(FILES)) == INSIDE
    assert contents(archive({f"./{name}": text for name, text in FILES.items()})) == INSIDE


def test_the_bill_is_valid_and_the_same_for_the_same_image() -> None:
    bill = bill_of_materials("gym-api", "1.0", IMAGE, CREATED, INSIDE)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    assert bill == bill_of_materials("gym-api", "1.0", IMAGE, CREATED, INSIDE)
    found = json.loads(bill)
    assert sorted(item["purl"] for item in found["components"]) == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=bookworm",
        "pkg:pypi/typing-extensions@4.1",
        "pkg:pypi/wordy@1",
    ]
    assert found["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    other = json.loads(bill_of_materials("gym-api", "1.0", OTHER, CREATED, INSIDE))
    assert other["serialNumber"] != found["serialNumber"]


def test_provenance_says_what_the_build_said() -> None:
    assert said({LABEL: BUILD.label()}) == BUILD
    told = statement("gym-api", "1.0", IMAGE, "2026-01-31T10:00:00Z", BUILD, "e" * 64)
    assert told["subject"] == [{"name": "gym-api", "digest": {"sha256": "a" * 64}}]
    assert told["predicate"]["buildDefinition"]["resolvedDependencies"] == [
        {"uri": "git+https://git.example.com/gym/platform", "digest": {"gitCommit": "c" * 40}},
        {"name": "examples/gym_api/requirements.txt", "digest": {"sha256": "d" * 64}},
    ]
    assert told["predicate"]["runDetails"]["builder"] == {"id": "https://ci.example.com/runners/7"}


def test_what_is_in_no_commit_claims_none() -> None:
    uncommitted = Build(**{**vars(BUILD), "repository": "", "commit": "", "invocation": ""})
    told = statement("gym-api", "1.0", IMAGE, "2026-01-31T10:00:00Z", uncommitted, "e" * 64)
    materials = told["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert [material["name"] for material in materials] == ["examples/gym_api/requirements.txt"]
    assert "invocationId" not in told["predicate"]["runDetails"]["metadata"]


def test_a_folder_is_in_a_commit_until_it_is_changed(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ("", "")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    (tmp_path / "file").write_text("1")
    for command in (
        ["init", "--quiet"],
        ["remote", "add", "origin", f"https://{'somebody:token'}@git.example.com/gym.git"],
        ["add", "."],
        ["commit", "--quiet", "--message=x"],
    ):
        subprocess.run([*git, *command], check=True)
    repository, commit = commit_of(tmp_path)
    assert repository == "https://git.example.com/gym.git"
    assert len(commit) == 40
    (tmp_path / "file").write_text("2")
    assert commit_of(tmp_path) == ("", "")


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@git.example.com:gym/platform.git", "ssh://git.example.com/gym/platform.git"),
        ("https://git.example.com:8443/gym?x#y", "https://git.example.com:8443/gym"),
        ("ssh://git@git.example.com:22/gym", "ssh://git.example.com:22/gym"),
        ("/home/somebody/gym", ""),
        ("file:///home/somebody/gym", ""),
        ("", ""),
    ],
)
def test_an_address_has_no_credential_and_no_path_of_this_machine(remote: str, address: str) -> None:
    assert public_address(remote) == address


def test_an_image_of_before_has_a_bill_alone() -> None:
    options = {"name": "gym-api", "version": "1.0", "digest": OTHER}
    found: dict[str, Any] = {"Id": IMAGE, "Created": "2026-01-31T10:00:00.123456789Z", "Config": {"Labels": None}}
    assert moment(found["Created"]) == moment("2026-01-31T10:00:00Z") == CREATED
    assert set(evidence(options, found, INSIDE)) == {BILL}
    found["Config"] = {"Labels": {LABEL: BUILD.label()}}
    documents = evidence(options, found, INSIDE)
    told = json.loads(documents[PROVENANCE])
    assert told["subject"][0]["digest"]["sha256"] == "b" * 64
    (byproduct,) = told["predicate"]["runDetails"]["byproducts"]
    assert byproduct["digest"]["sha256"] == hashlib.sha256(documents[BILL].encode()).hexdigest()


class Registry(BaseAdapter):
    """As much of the distribution specification as attaching needs, with the referrers API or as of before it."""

    def __init__(self, *, referrers: bool) -> None:
        super().__init__()
        self.referrers = referrers
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.push("image", "application/vnd.oci.image.manifest.v1+json", b'{"schemaVersion": 2}')

    def push(self, reference: str, kind: str, body: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        self.manifests[reference] = self.manifests[digest] = (kind, body)
        return digest

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        answer = requests.Response()
        answer.request, answer.url = request, str(request.url)
        url = urlsplit(answer.url)
        body = request.body if isinstance(request.body, bytes) else b""
        status, headers, content = self.answer(str(request.method), url.path, parse_qs(url.query), request, body)
        answer.status_code, answer.raw = status, io.BytesIO(content)
        answer.headers.update(headers)
        return answer

    def answer(
        self, method: str, path: str, query: Mapping[str, list[str]], request: requests.PreparedRequest, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        what, _, name = path.removeprefix("/v2/gym/gym-api/").partition("/")
        match method, what:
            case "GET", "referrers" if self.referrers:
                listed = [
                    {"digest": digest, "artifactType": json.loads(text)["artifactType"]}
                    for digest, (_, text) in self.manifests.items()
                    if json.loads(text).get("subject", {}).get("digest") == name
                ]
                return 200, {}, json.dumps({"manifests": listed}).encode()
            case "GET", "manifests" if name in self.manifests:
                kind, text = self.manifests[name]
                return 200, {"Content-Type": kind}, text
            case "PUT", "manifests":
                self.push(name, str(request.headers["Content-Type"]), body)
                subject = {"OCI-Subject": "yes"} if self.referrers and "subject" in json.loads(body) else {}
                return 201, subject, b""
            case "POST", "blobs":
                return 202, {"Location": "/v2/gym/gym-api/blobs/uploads/1"}, b""
            case "PUT", "blobs":
                assert query["digest"] == [f"sha256:{hashlib.sha256(body).hexdigest()}"]
                self.blobs[query["digest"][0]] = body
                return 201, {}, b""
            case "GET" | "HEAD", "blobs" if name in self.blobs:
                return 200, {}, self.blobs[name]
        return 404, {}, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}'

    def close(self) -> None:
        pass


@pytest.mark.parametrize("referrers", [True, False])
def test_documents_are_attached_once_and_found_again(referrers: bool) -> None:
    registry = Registry(referrers=referrers)
    image = next(digest for digest in registry.manifests if digest.startswith("sha256:"))
    session = requests.Session()
    session.mount("https://", registry)
    repository = Repository("registry.example.com/gym/gym-api", session)
    assert repository.attached(image, BILL) is None
    for kind, content in ((BILL, b"bill"), (PROVENANCE, b"provenance")):
        assert repository.attach(image, kind, content, {})
        assert not repository.attach(image, kind, b"another", {})
    assert repository.attached(image, BILL) == b"bill"
    assert repository.attached(image, PROVENANCE) == b"provenance"
    # Only a registry of before is given an index of its own making.
    assert any(kind == INDEX for kind, _ in registry.manifests.values()) != referrers


def test_an_image_that_is_not_there_gets_nothing() -> None:
    session = requests.Session()
    session.mount("https://", Registry(referrers=True))
    with pytest.raises(ReferrerError, match=rf"answered GET manifests/{OTHER} with 404: .*MANIFEST_UNKNOWN"):
        Repository("registry.example.com/gym/gym-api", session).attach(OTHER, BILL, b"bill", {})
