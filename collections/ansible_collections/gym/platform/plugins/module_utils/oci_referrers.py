"""Attach documents to an image in a registry, as referrers in the words of the OCI distribution specification 1.1.

A registry without the referrers API gets the index under a tag that the specification has for that, so that clients
find the documents there: https://github.com/opencontainers/distribution-spec, "Referrers Tag Schema".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import requests

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
IMAGES = f"{MANIFEST}, {INDEX}, application/vnd.docker.distribution.manifest.v2+json"
# A manifest has a configuration, and a document has none: the specification's empty one.
EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
TIMEOUT_SECONDS = 60


class ReferrerError(Exception):
    """The registry did not take it; the message is one sentence."""


class Repository:
    """One repository of a registry."""

    def __init__(self, address: str, session: requests.Session) -> None:
        """Talk to `host[:port]/path` with what the session is allowed and trusts."""
        self._host, _, self._path = address.partition("/")
        self._session = session

    def attach(self, image: str, kind: str, content: bytes, annotations: Mapping[str, str]) -> bool:
        """Attach a document of a media type to the image with a digest; return False where it has one already."""
        known = self._referrers(image)
        if any(item.get("artifactType") == kind for item in known):
            return False
        subject = self._ask("GET", f"manifests/{image}", headers={"Accept": IMAGES})
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": self._blob(EMPTY, EMPTY_TYPE),
            "layers": [self._blob(content, kind)],
            "subject": _descriptor(subject.content, subject.headers["Content-Type"]),
            "annotations": dict(annotations),
        }
        body = json.dumps(manifest, sort_keys=True).encode()
        own = _descriptor(body, MANIFEST)
        answer = self._ask("PUT", f"manifests/{own['digest']}", data=body, headers={"Content-Type": MANIFEST})
        # The header says that the registry keeps the list of referrers itself.
        if "OCI-Subject" not in answer.headers:
            listed = {**own, "artifactType": kind, "annotations": dict(annotations)}
            index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*known, listed]}).encode()
            self._ask("PUT", f"manifests/{_tag(image)}", data=index, headers={"Content-Type": INDEX})
        return True

    def attached(self, image: str, kind: str) -> bytes | None:
        """Return the document of a media type that is attached to an image, or None."""
        for item in self._referrers(image):
            if item.get("artifactType") == kind:
                manifest = self._ask("GET", f"manifests/{item['digest']}", headers={"Accept": MANIFEST}).json()
                return bytes(self._ask("GET", f"blobs/{manifest['layers'][0]['digest']}").content)
        return None

    def _referrers(self, image: str) -> list[dict[str, Any]]:
        for path in (f"referrers/{image}", f"manifests/{_tag(image)}"):
            answer = self._ask("GET", path, headers={"Accept": INDEX}, accept=(404,))
            if answer.status_code == 200:
                return list(answer.json().get("manifests") or [])
        return []

    def _blob(self, content: bytes, kind: str) -> dict[str, Any]:
        descriptor = _descriptor(content, kind)
        if self._ask("HEAD", f"blobs/{descriptor['digest']}", accept=(404,)).status_code == 404:
            place = self._ask("POST", "blobs/uploads/").headers["Location"]
            sent = {"Content-Type": "application/octet-stream"}
            self._ask("PUT", place, params={"digest": descriptor["digest"]}, data=content, headers=sent)
        return descriptor

    def _ask(self, method: str, path: str, *, accept: tuple[int, ...] = (), **request: Any) -> requests.Response:
        url = requests.compat.urljoin(f"https://{self._host}/v2/{self._path}/", path)
        try:
            answer = self._session.request(method, url, timeout=TIMEOUT_SECONDS, **request)
        except requests.RequestException as error:
            raise ReferrerError(f"The registry {self._host} did not answer {method} {path}: {error}.") from error
        if answer.status_code >= 400 and answer.status_code not in accept:
            said = " ".join(answer.text.split())[:300]
            raise ReferrerError(f"The registry {self._host} answered {method} {path} with {answer.status_code}: {said}")
        return answer


def _descriptor(content: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}


def _tag(image: str) -> str:
    return image.replace(":", "-")
