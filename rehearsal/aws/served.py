"""The instances that have a PostgreSQL of their own: those that were asked for, and what is restored from them."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import rds

from rehearsal.aws import postgresql, schemas

Record = dict[str, Any]
# Where the names of instances are, in every account: the same name is always the same address.
ZONE = "rehearsal.{region}.rds.amazonaws.com"
# By the id that an instance keeps when it is renamed.
engines: dict[str, postgresql.Engine] = {}


def serve(account: str, region: str, name: str) -> dict[str, Any]:
    """Have a PostgreSQL behind an instance, and say where it answers, to whom, and whom to trust."""
    with request_scope(account, region):
        instance = rds._instances[name]
        if instance["DbiResourceId"] not in engines:
            engine = _engine(instance)
            engine.create()
            _begin(instance, engine)
        return {
            "hostname": instance["Endpoint"]["Address"],
            "port": instance["Endpoint"]["Port"],
            "user": instance["MasterUsername"],
            "password": instance["_MasterUserPassword"],
            "name": instance["DBName"],
            "authority": str(_certified() / "certificate.pem"),
        }


def has_data(source: Record) -> bool:
    """Tell whether there is data in an instance or a snapshot."""
    return "_base" in source or source["DbiResourceId"] in engines


def keep(source: Record) -> None:
    """Have all that an instance was told in its backups, unless it is lost."""
    if (engine := engines.get(source["DbiResourceId"])) and "_LatestTime" not in source:
        engine.archived()


def bring_up(instance: Record, source: Record, until: datetime | None) -> None:
    """Have in an instance what was in its source. Raises postgresql.EngineError."""
    engine = _engine(instance)
    if base := source.get("_base"):
        engine.load(Path(base))
    else:
        engine.restore(engines[source["DbiResourceId"]], until)
    _begin(instance, engine)


def save(instance: Record, snapshot: Record) -> None:
    """Have in a snapshot what is in an instance."""
    snapshot["_MasterUserPassword"] = instance.get("_MasterUserPassword", "")
    if engine := engines.get(snapshot["DbiResourceId"]):
        base = _room("snapshot") / "base"
        engine.back_up(base)
        snapshot["_base"] = str(base)


def end(instance: Record) -> None:
    """Have no PostgreSQL behind an instance that is deleted."""
    if engine := engines.pop(instance["DbiResourceId"], None):
        engine.stop()


def lose(region: str) -> None:
    """End everything that runs in a region, with what its log has not archived. Its backups elsewhere stay."""
    for instance, engine in _of(region):
        engine.stop(crash=True)
        instance["_LatestTime"] = engine.archived_until()


def find(region: str) -> None:
    """Have a lost region back, as it was."""
    for instance, engine in _of(region):
        if instance.pop("_LatestTime", None):
            engine.start()


def _of(region: str) -> Iterator[tuple[Record, postgresql.Engine]]:
    for (_, where, _), instance in rds._instances.all_items():
        if where == region and (engine := engines.get(instance["DbiResourceId"])):
            yield instance, engine


def _engine(instance: Record) -> postgresql.Engine:
    place = _room(instance["DBInstanceIdentifier"])
    credentials = instance["MasterUsername"], instance["_MasterUserPassword"]
    return postgresql.Engine(place / "engine", credentials, instance["DBName"], _certified())


def _begin(instance: Record, engine: postgresql.Engine) -> None:
    engines[instance["DbiResourceId"]] = engine
    instance["Endpoint"]["Port"] = engine.port


def _room(name: str) -> Path:
    room = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_place()))
    postgresql.own(room)
    return room


@functools.cache
def _place() -> Path:
    place = Path(tempfile.mkdtemp(prefix="rehearsal-databases-"))
    place.chmod(0o755)
    atexit.register(_leave, place)
    return place


def _leave(place: Path) -> None:
    for engine in engines.values():
        engine.stop(crash=True)
    shutil.rmtree(place, ignore_errors=True)


@functools.cache
def _certified() -> Path:
    regions = sorted(path.stem for path in (schemas.DIRECTORY / "providers").glob("*-*-*.json"))
    postgresql.certify(_place(), [f"*.{ZONE.format(region=region)}" for region in regions])
    return _place()
