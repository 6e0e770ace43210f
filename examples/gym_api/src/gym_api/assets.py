"""Static files under names that their content gives them, served during and after a switch, whichever colour is asked.

A page of the old release refers to the old release's files, and its browser may ask the new colour for them. So each
release publishes its files to a store that all releases share. A name is never given to other content, so nothing is
ever replaced; what no release published for 30 days is removed.
"""

import hashlib
import mimetypes
import os
import re
import time
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gym_api.settings import Reader

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

KEPT_SECONDS = 30 * 24 * 3600
_NAME = re.compile(r"[a-z0-9_-]+\.[0-9a-f]{16}\.(css|js)")
_PREFIX = "assets/"
_FOREVER = "public, max-age=31536000, immutable"
_PAGE = {"Cache-Control": "no-cache", "Content-Security-Policy": "default-src 'self'"}


@cache
def packaged() -> Mapping[str, bytes]:
    """Return the content of this release's files by the name that is served."""
    return dict(_named(path.name, path.read_bytes()) for path in _sources())


@cache
def page() -> str:
    """Return the kiosk's page, which refers to this release's files."""
    text = files("gym_api").joinpath("static/kiosk.html").read_text()
    for path in _sources():
        text = text.replace(f"{{{path.name}}}", _named(path.name, path.read_bytes())[0])
    return text


def routes(directory: Path | None) -> list[Route]:
    """Return the page and its files, those of `directory` first: it has the other colour's as well."""

    async def kiosk(_: Request) -> Response:
        return Response(page(), headers=_PAGE, media_type="text/html")

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        content = _read(directory, name) if _NAME.fullmatch(name) else None
        if content is None:
            raise HTTPException(404, "there is no such file", {"Cache-Control": "no-store"})
        return Response(content, headers={"Cache-Control": _FOREVER}, media_type=_type(name))

    return [Route("/kiosk", kiosk), Route("/assets/{name}", asset)]


class Store(Protocol):
    """Where the files of all releases are."""

    def refresh(self, name: str) -> bool:
        """Note that a file is published now; tell whether it is there."""

    def add(self, name: str, content: bytes) -> None:
        """Add a file, unless somebody else has just done so."""

    def remove_before(self, moment: float) -> list[str]:
        """Remove what was last published before `moment`, in seconds of the epoch; return the names."""


def publish(store: Store, now: float | None = None) -> dict[str, Any]:
    """Publish this release's files, remove what no release of the last 30 days published, and say what changed."""
    published = []
    for name, content in packaged().items():
        if not store.refresh(name):
            store.add(name, content)
            published.append(name)
    removed = store.remove_before((time.time() if now is None else now) - KEPT_SECONDS)
    return {"changed": bool(published or removed), "published": published, "removed": removed}


def store_of(reader: Reader) -> Store:
    """Return the store that ASSETS_DIRECTORY or ASSETS_BUCKET names."""
    if reader.one_of("ASSETS_DIRECTORY", "ASSETS_BUCKET") == "ASSETS_DIRECTORY":
        return Directory(Path(reader.text("ASSETS_DIRECTORY")))
    return Bucket(reader.text("ASSETS_BUCKET"), reader.text("ASSETS_ENDPOINT_URL", "") or None)


class Directory:
    """A directory that both colours see."""

    def __init__(self, path: Path) -> None:
        """Keep files in `path`, which is made if need be."""
        self._path = path
        path.mkdir(parents=True, exist_ok=True)

    def refresh(self, name: str) -> bool:
        """See `Store`."""
        try:
            os.utime(self._path / name)
        except FileNotFoundError:
            return False
        return True

    def add(self, name: str, content: bytes) -> None:
        """See `Store`; a reader sees the whole file or none."""
        temporary = self._path / f".{name}.{os.getpid()}"
        temporary.write_bytes(content)
        temporary.chmod(0o644)
        try:
            # Unlike a rename, a link never replaces.
            (self._path / name).hardlink_to(temporary)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()

    def remove_before(self, moment: float) -> list[str]:
        """See `Store`."""
        old = [path for path in sorted(self._path.iterdir()) if path.is_file() and path.stat().st_mtime < moment]
        for path in old:
            path.unlink(missing_ok=True)
        return [path.name for path in old]


class Bucket:
    """An S3 bucket, under `assets/`: what the content delivery network finds under /assets/."""

    def __init__(self, name: str, endpoint_url: str | None) -> None:
        """Keep files in this bucket."""
        import boto3

        self._bucket = name
        self._client: S3Client = boto3.client("s3", endpoint_url=endpoint_url)

    def refresh(self, name: str) -> bool:
        """See `Store`. The only way to renew an object's time is to copy it onto itself."""
        from botocore.exceptions import ClientError

        try:
            self._client.copy_object(
                Bucket=self._bucket,
                Key=_PREFIX + name,
                CopySource={"Bucket": self._bucket, "Key": _PREFIX + name},
                MetadataDirective="REPLACE",
                ContentType=_type(name),
                CacheControl=_FOREVER,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return False
            raise
        return True

    def add(self, name: str, content: bytes) -> None:
        """See `Store`."""
        from botocore.exceptions import ClientError

        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=_PREFIX + name,
                Body=content,
                ContentType=_type(name),
                CacheControl=_FOREVER,
                IfNoneMatch="*",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise

    def remove_before(self, moment: float) -> list[str]:
        """See `Store`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=_PREFIX)
        found = [entry for page in pages for entry in page.get("Contents", [])]
        old = [entry["Key"] for entry in found if entry["LastModified"].timestamp() < moment]
        for key in old:
            self._client.delete_object(Bucket=self._bucket, Key=key)
        return [key.removeprefix(_PREFIX) for key in old]


def _sources() -> Iterator[Any]:
    directory = files("gym_api").joinpath("static")
    return (path for path in sorted(directory.iterdir(), key=lambda one: one.name) if path.name != "kiosk.html")


def _named(name: str, content: bytes) -> tuple[str, bytes]:
    stem, _, extension = name.rpartition(".")
    return f"{stem}.{hashlib.sha256(content).hexdigest()[:16]}.{extension}", content


def _read(directory: Path | None, name: str) -> bytes | None:
    if directory:
        try:
            return (directory / name).read_bytes()
        except OSError:
            # Not published yet, or the directory is away: this release's own files are also here.
            pass
    return packaged().get(name)


def _type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
