"""What is live can say what is in it and where it comes from."""

from __future__ import annotations

import hashlib
import json

import pytest
import requests
from ansible_collections.gym.platform.plugins.module_utils.oci_referrers import Repository
from ansible_collections.gym.platform.plugins.module_utils.secret_store import SecretStore
from ansible_collections.gym.platform.plugins.modules.image_evidence import BILL, ENDINGS, PROVENANCE

from tests.end_to_end.platform_access import ROOT, STATE
from tests.project import environment

IMAGES = ROOT / "build/development/images"


@pytest.mark.parametrize("kind", [BILL, PROVENANCE])
def test_the_registry_has_the_documents_of_the_build(kind: str) -> None:
    image = json.loads((IMAGES / "gym-api.json").read_text(encoding="utf-8"))
    written = (IMAGES / f"gym-api.{ENDINGS[kind]}").read_bytes()
    address = environment().inventory.get_host("backup-1").vars["ansible_host"]
    with requests.Session() as session:
        session.auth = ("platform", SecretStore(STATE).get("registry/push"))
        session.verify, session.trust_env = str(STATE / "ca.pem"), False
        attached = Repository(f"{address}:5000/gym-api", session).attached(image["digest"], kind)
    assert attached == written


def test_provenance_is_about_the_image_and_its_bill() -> None:
    image = json.loads((IMAGES / "gym-api.json").read_text(encoding="utf-8"))
    told = json.loads((IMAGES / "gym-api.intoto.json").read_text(encoding="utf-8"))
    assert f"sha256:{told['subject'][0]['digest']['sha256']}" == image["digest"]
    (bill,) = told["predicate"]["runDetails"]["byproducts"]
    assert bill["digest"]["sha256"] == hashlib.sha256((IMAGES / "gym-api.cdx.json").read_bytes()).hexdigest()
