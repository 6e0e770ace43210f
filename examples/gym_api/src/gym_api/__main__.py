"""`python -m gym_api api|worker|report|migrate|seed`: results on standard output, logs on standard error."""

import argparse
import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from datetime import date
from typing import Any

from gym_api import api, logs, worker
from gym_api.cache import Cache
from gym_api.database import Database, DatabaseUnavailableError
from gym_api.health import Dependency, Health
from gym_api.migrate import migrate
from gym_api.queue import Queue
from gym_api.report import report
from gym_api.seed import DemoSettings, Plan, seed
from gym_api.serve import serve, stop_on_signals
from gym_api.settings import DatabaseSettings, Reader, Settings, SettingsError


async def run_service(settings: Settings, kind: str) -> None:
    """Run the API or the worker until SIGTERM."""
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings.database))
        cache = await stack.enter_async_context(Cache(settings.redis))
        queue = Queue(settings.queue)
        # The API answers without Redis and without the queue, if not everything; the worker only needs these two.
        health = Health(
            {
                "database": Dependency(database.ping, required=True),
                "redis": Dependency(cache.ping, required=False),
                "queue": Dependency(queue.ping, required=kind == "worker"),
            }
        )
        async with asyncio.TaskGroup() as tasks:
            if kind == "api":
                tasks.create_task(serve(api.create_app(settings, database, cache, health), settings.port, stop))
            else:
                tasks.create_task(serve(worker.create_app(settings, health), settings.port, stop))
                tasks.create_task(worker.work(settings, database, cache, queue, stop))


async def run_report(settings: DatabaseSettings, day: date | None) -> dict[str, Any]:
    """Write the daily reports."""
    async with Database(settings) as database:
        return await report(database, day)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    root = argparse.ArgumentParser(prog="gym_api", description="The reference workload of the gym platform.")
    commands = root.add_subparsers(dest="command", required=True)
    commands.add_parser("api", help="serve the HTTP API")
    commands.add_parser("worker", help="relay and deliver notifications")
    reporting = commands.add_parser("report", help="write the daily reports")
    reporting.add_argument("--day", type=date.fromisoformat, help="default: yesterday (UTC)")
    migrating = commands.add_parser("migrate", help="bring the schema to a revision")
    migrating.add_argument("revision", nargs="?", default="head")
    Plan.add_arguments(commands.add_parser("seed", help="load synthetic gyms, the same for the same seed"))
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = parser().parse_args(arguments)
    logs.configure()
    reader = Reader(os.environ)
    result: dict[str, Any] | None = None
    try:
        match options.command:
            case "api" | "worker":
                asyncio.run(run_service(Settings.parse(), options.command))
            case "report":
                result = asyncio.run(run_report(DatabaseSettings.parse(reader), options.day))
            case "migrate":
                result = migrate(reader.database_url("MIGRATION_DATABASE_URL"), options.revision)
            case "seed":
                url = reader.database_url("MIGRATION_DATABASE_URL")
                result = seed(url, Plan.parse(options), DemoSettings.parse(reader))
    except (SettingsError, DatabaseUnavailableError) as error:
        print(f"gym_api {options.command}: {error}", file=sys.stderr)
        return 2
    if result is not None:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
