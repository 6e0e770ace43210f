"""`python -m gym_api api|worker|report|migrate|assets|seed`: results on standard output, logs on standard error."""

import argparse
import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path
from typing import Any

from gym_api import RefusedError, logs
from gym_api.database import Database
from gym_api.settings import DatabaseSettings, Reader, Settings

# Each command imports what only it needs: alembic, boto3 and Faker together cost seconds on a small machine.


async def run_service(settings: Settings, kind: str) -> None:
    """Run the API or the worker until SIGTERM."""
    from gym_api import api, worker
    from gym_api.cache import Cache
    from gym_api.health import Dependency, Health, never
    from gym_api.queue import Queue
    from gym_api.serve import crash, serve, stop_on_signals

    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(settings.database))
        cache = await stack.enter_async_context(Cache(settings.redis))
        queue = Queue(settings.queue)
        # The API answers without Redis and without the queue, if not everything; the worker lives for the queue.
        dependencies = {
            "database": Dependency(database.ping, required=True),
            "redis": Dependency(cache.ping, required=False),
            "queue": Dependency(queue.ping, required=kind == "worker"),
        }
        if not settings.faults.ready:
            dependencies["FAULT_READY"] = Dependency(never, required=True)
        health = Health(dependencies)
        async with asyncio.TaskGroup() as tasks:
            if settings.faults.crash_after_seconds:
                tasks.create_task(crash(stop, settings.faults.crash_after_seconds))
            if kind == "api":
                tasks.create_task(serve(api.create_app(settings, database, cache, health), settings.port, stop))
            else:
                tasks.create_task(serve(worker.create_app(settings, health), settings.port, stop))
                tasks.create_task(worker.work(settings, database, cache, queue, stop))


async def run_report(settings: DatabaseSettings, day: date | None) -> dict[str, Any]:
    """Write the daily reports."""
    from gym_api.report import report

    async with Database(settings) as database:
        return await report(database, day)


def run_migrate(reader: Reader, options: argparse.Namespace) -> dict[str, Any]:
    """Apply a phase of the migrations, or write them all as SQL."""
    from gym_api.migrate import MigrationError, migrate, render

    if options.render:
        return {"changed": True, "rendered": [str(path) for path in render(options.render)]}
    if reader.choice("FAULT_MIGRATE", "none", ("none", "fail")) == "fail" and options.phase != "contract":
        raise MigrationError("FAULT_MIGRATE is 'fail'; nothing was migrated.")
    return migrate(reader.migration_url(), options.phase)


def run_assets(reader: Reader) -> dict[str, Any]:
    """Publish this release's static files."""
    from gym_api.assets import publish, store_of

    return publish(store_of(reader))


def run_seed(url: str, options: argparse.Namespace, reader: Reader) -> dict[str, Any]:
    """Load synthetic data."""
    from gym_api.seed import DemoSettings, seed
    from gym_api.synthetic import Plan

    plan = Plan(options.seed, options.gyms, options.members, options.months, options.visits, options.until)
    return seed(url, plan, DemoSettings.parse(reader))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    root = argparse.ArgumentParser(prog="gym_api", description="The reference workload of the gym platform.")
    commands = root.add_subparsers(dest="command", required=True)
    commands.add_parser("api", help="serve the HTTP API")
    commands.add_parser("worker", help="relay and deliver notifications")
    reporting = commands.add_parser("report", help="write the daily reports")
    reporting.add_argument("--day", type=date.fromisoformat, help="default: yesterday (UTC)")
    migrating = commands.add_parser("migrate", help="bring the schema to what this release needs")
    migrating.add_argument(
        "--phase", choices=["expand", "contract", "all"], default="all", help="before the switch, after it, or both"
    )
    migrating.add_argument("--render", type=Path, metavar="DIRECTORY", help="write the SQL there instead, for a linter")
    commands.add_parser("assets", help="publish the static files to where those of all releases are")
    seeding = commands.add_parser("seed", help="load synthetic gyms, the same for the same seed")
    seeding.add_argument("--seed", type=int, default=1)
    seeding.add_argument("--gyms", type=int, default=0, help="synthetic gyms, beside those of DEMO_TENANTS")
    seeding.add_argument("--members", type=int, default=50, help="members of each gym")
    seeding.add_argument("--months", type=int, default=5, help="months of check-ins, of 30 days")
    seeding.add_argument("--visits", type=int, default=8, help="check-ins of each member in each month")
    # Not today: the same command gives the same data tomorrow.
    seeding.add_argument("--until", type=date.fromisoformat, default=date(2026, 1, 1), help="the last day")
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
                result = run_migrate(reader, options)
            case "assets":
                result = run_assets(reader)
            case "seed":
                result = run_seed(reader.migration_url(), options, reader)
    except RefusedError as error:
        print(f"gym_api {options.command}: {error}", file=sys.stderr)
        return 2
    if result is not None:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
