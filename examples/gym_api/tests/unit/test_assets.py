"""Files of all releases are there for everybody, and each name is one content for ever."""

import json
import os
import re
from pathlib import Path

import boto3
import httpx
import pytest
from moto import mock_aws
from starlette.applications import Starlette

from gym_api import assets
from gym_api.__main__ import main
from gym_api.assets import KEPT_SECONDS, Bucket, Directory, Store, packaged, publish, routes

pytestmark = pytest.mark.anyio
OLD = "kiosk.0123456789abcdef.js"
DAY = 24 * 3600


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def client(directory: Path | None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=Starlette(routes=list(routes(directory))))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_the_page_refers_to_files_that_are_served_for_ever() -> None:
    async with client(None) as http:
        page = await http.get("/kiosk")
        names = re.findall(r"/assets/([^\"]+)", page.text)
        assert sorted(names) == sorted(packaged())
        for name in names:
            answer = await http.get(f"/assets/{name}")
            assert (answer.status_code, answer.content) == (200, packaged()[name])
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        types = {(await http.get(f"/assets/{name}")).headers["content-type"].split(";")[0] for name in names}
    assert page.headers["cache-control"] == "no-cache"
    assert types == {"text/css", "text/javascript"}


async def test_the_other_release_s_files_are_served_and_no_others(tmp_path: Path) -> None:
    store = tmp_path / "store"
    publish(Directory(store))
    (store / OLD).write_text("old")
    (tmp_path / "secret.0123456789abcdef.js").write_text("secret")
    async with client(store) as http:
        assert (await http.get(f"/assets/{OLD}")).text == "old"
        for name in ("kiosk.js", "..%2fsecret.0123456789abcdef.js", "kiosk.ffffffffffffffff.js"):
            missing = await http.get(f"/assets/{name}")
            assert missing.status_code == 404, name
    async with client(tmp_path / "away") as http:
        assert (await http.get(f"/assets/{next(iter(packaged()))}")).status_code == 200


def test_a_directory_keeps_what_was_published_lately(tmp_path: Path) -> None:
    store = Directory(tmp_path / "store")
    assert publish(store) == {"changed": True, "published": list(packaged()), "removed": []}
    now = (tmp_path / "store" / next(iter(packaged()))).stat().st_mtime
    for name, days in ((OLD, 31), ("kiosk.aaaaaaaaaaaaaaaa.js", 29), *((name, 31) for name in packaged())):
        path = tmp_path / "store" / name
        path.touch()
        os.utime(path, (now - days * DAY, now - days * DAY))
    assert publish(store) == {"changed": True, "published": [], "removed": [OLD]}
    assert publish(store) == {"changed": False, "published": [], "removed": []}
    kept = sorted(path.name for path in (tmp_path / "store").iterdir())
    assert kept == sorted([*packaged(), "kiosk.aaaaaaaaaaaaaaaa.js"])


@pytest.mark.parametrize("kind", ["directory", "bucket"])
def test_nothing_is_ever_replaced(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="assets", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        store: Store = Directory(tmp_path) if kind == "directory" else Bucket("assets", None)
        store.add(OLD, b"first")
        store.add(OLD, b"second")
        read = (
            (tmp_path / OLD).read_bytes()
            if kind == "directory"
            else s3.get_object(Bucket="assets", Key=f"assets/{OLD}")["Body"].read()
        )
    assert read == b"first"


def test_a_bucket_keeps_what_was_published_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="assets", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        store = Bucket("assets", None)
        store.add(OLD, b"old")
        first = publish(store)
        assert (first["changed"], first["published"], first["removed"]) == (True, list(packaged()), [])
        assert publish(store)["changed"] is False
        head = s3.head_object(Bucket="assets", Key=f"assets/{next(iter(packaged()))}")
        assert head["CacheControl"] == "public, max-age=31536000, immutable"
        assert head["ContentType"].startswith("text/")
        everything = publish(store, now=head["LastModified"].timestamp() + KEPT_SECONDS + DAY)["removed"]
    assert everything == sorted([OLD, *packaged()])


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("gym_api.logs.configure", lambda: None)  # the logs of this process are pytest's
    monkeypatch.delenv("ASSETS_DIRECTORY", raising=False)
    assert main(["assets"]) == 2
    assert capsys.readouterr().err == (
        "gym_api assets: ASSETS_DIRECTORY and ASSETS_BUCKET are not set; set one of them.\n"
    )
    monkeypatch.setenv("ASSETS_DIRECTORY", str(tmp_path))
    assert main(["assets"]) == 0
    assert json.loads(capsys.readouterr().out)["published"] == list(assets.packaged())
