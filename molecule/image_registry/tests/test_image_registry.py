"""The registry, as those who push and pull meet it. Tools and a small image are made on the host itself."""

from __future__ import annotations

import json

import pytest
import testinfra
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

CREDENTIALS = "platform:molecule-registry"
AUTHORITY = "--cacert /etc/ssl/gym/ca.pem"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


class Registry:
    """One registry, asked over its HTTP API from its own host."""

    def __init__(self, inventory: str) -> None:
        runner = AnsibleRunner(inventory)
        name = sorted(runner.get_hosts("machines"))[-1]
        self.host: Host = testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}", sudo=True)
        self.url = f"https://{runner.get_variables(name)['ansible_host']}:5000/v2"

    def curl(self, path: str, *options: str, user: str = CREDENTIALS) -> str:
        """Ask, and return the body with the status in the last line."""
        login = f"--user {user}" if user else ""
        return str(
            self.host.check_output(
                f"curl -s {AUTHORITY} {login} {' '.join(options)} -w '\\n%{{http_code}}' '{self.url}{path}'"
            )
        )

    def status(self, path: str, *options: str, user: str = CREDENTIALS) -> int:
        """Ask, and return only the status."""
        return int(self.curl(path, *options, user=user).splitlines()[-1])

    def push_blob(self, text: str) -> tuple[str, int]:
        """Upload a layer; return its digest and size."""
        digest = "sha256:" + self.host.check_output(f"printf '%s' '{text}' | sha256sum").split()[0]
        started = self.curl("/probe/blobs/uploads/", "-X POST", "-D -")
        place = next(line.split(": ", 1)[1] for line in started.splitlines() if line.lower().startswith("location:"))
        code = self.host.check_output(
            f"printf '%s' '{text}' | curl -s -o /dev/null -w '%{{http_code}}' {AUTHORITY} --user {CREDENTIALS} -X PUT "
            f"-H 'Content-Type: application/octet-stream' --data-binary @- '{place.strip()}&digest={digest}'"
        )
        assert code == "201"
        return digest, len(text)

    def push(self, tag: str) -> tuple[str, str]:
        """Push an image with one layer; return the digests of the image and of the layer."""
        layer, layer_size = self.push_blob(f"layer of {tag}")
        config, config_size = self.push_blob('{"architecture":"amd64","os":"linux"}')
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json", "size": config_size, "digest": config
            },
            "layers": [{"mediaType": LAYER_TYPE, "size": layer_size, "digest": layer}],
        }  # fmt: skip
        answer = self.curl(
            f"/probe/manifests/{tag}", "-X PUT", "-D -", f"-H 'Content-Type: {MANIFEST_TYPE}'",
            f"--data-binary '{json.dumps(manifest)}'",
        )  # fmt: skip
        assert answer.splitlines()[-1] == "201"
        digests = [line for line in answer.splitlines() if line.lower().startswith("docker-content-digest:")]
        return digests[0].split(": ")[1].strip(), layer


@pytest.fixture(scope="module")
def registry(request: pytest.FixtureRequest) -> Registry:
    return Registry(str(request.config.getoption("--ansible-inventory")))


def test_an_image_is_pushed_and_pulled_by_its_digest(registry: Registry) -> None:
    digest, layer = registry.push("one")
    pulled = registry.curl(f"/probe/manifests/{digest}", f"-H 'Accept: {MANIFEST_TYPE}'")
    assert layer in pulled
    assert registry.curl(f"/probe/blobs/{layer}").splitlines() == ["layer of one", "200"]


@pytest.mark.parametrize("user", ["", "platform:wrong", "somebody:molecule-registry"])
def test_nobody_else_pulls_or_pushes(registry: Registry, user: str) -> None:
    registry.push("two")
    assert registry.status("/probe/manifests/two", user=user) == 401
    assert registry.status("/probe/blobs/uploads/", "-X POST", user=user) == 401
    assert registry.status("/_catalog", user=user) == 401


def test_it_speaks_tls_alone_and_with_a_certificate_of_this_platform(registry: Registry) -> None:
    plain = registry.url.replace("https", "http")
    assert "Client sent an HTTP request to an HTTPS server" in registry.host.check_output(f"curl -s {plain}/")
    # 60: the certificate cannot be verified with the authorities that a machine knows by itself.
    assert registry.host.run(f"curl -s {registry.url}/").rc == 60


def test_cleaning_removes_what_was_deleted_and_keeps_what_is_used(registry: Registry) -> None:
    kept, kept_layer = registry.push("kept")
    doomed, doomed_layer = registry.push("doomed")
    assert registry.status(f"/probe/manifests/{doomed}", "-X DELETE") == 202
    registry.host.check_output("systemctl start registry-cleaning.service")

    def stored(layer: str) -> bool:
        name = layer.split(":")[1]
        blob = f"/var/lib/docker-registry/docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"
        return bool(registry.host.file(blob).exists)

    assert not stored(doomed_layer)
    assert stored(kept_layer)
    # It takes uploads again as soon as the cleaning has ended.
    probe = f"curl -s -o /dev/null {AUTHORITY} --retry 20 --retry-connrefused --retry-delay 1 {registry.url}/"
    registry.host.check_output(probe)
    assert registry.status(f"/probe/manifests/{kept}", f"-H 'Accept: {MANIFEST_TYPE}'") == 200
    registry.push("after")
    assert registry.host.service("registry-cleaning.timer").is_running
