"""moto's server, with one thing put right: an instance that was promoted is no replica any more."""

from __future__ import annotations

from typing import Any

from moto.rds.models import RDSBackend
from moto.server import main

promote = RDSBackend.promote_read_replica


def promote_for_good(self: Any, db_kwargs: dict[str, Any]) -> Any:
    """Promote, and forget the source: moto goes on naming it, and whoever waits for the promotion waits for ever."""
    instance = promote(self, db_kwargs)
    instance.source_db_instance_identifier = None
    return instance


RDSBackend.promote_read_replica = promote_for_good

if __name__ == "__main__":
    main()
