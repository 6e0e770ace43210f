"""What surrounds a request: ids, metrics, faults, health."""

import json
import logging

import httpx
import pytest
from prometheus_client import REGISTRY
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gym_api.health import Dependency, Health, never, operations
from gym_api.logs import JsonFormatter, request_id
from gym_api.observe import Faults, Observed
from gym_api.settings import FaultSettings, Reader, Release

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Dependencies:
    """A database that can be taken away, and a Redis that is away."""

    def __init__(self) -> None:
        self.database_up = True
        self.asked = 0

    async def database(self) -> None:
        self.asked += 1
        if not self.database_up:
            raise ConnectionError

    async def redis(self) -> None:
        raise TimeoutError


async def echo(request: Request) -> Response:
    return JSONResponse({"id": request.path_params["id"], "request_id": request_id.get()})


async def broken(_: Request) -> Response:
    raise RuntimeError("broken")


def client(faults: FaultSettings | None = None, health: Health | None = None) -> httpx.AsyncClient:
    routes = [Route("/v1/things/{id}", echo, methods=["GET", "POST"]), Route("/v1/broken", broken)]
    app = Starlette(
        routes=[*routes, *operations(Release("1", "blue"), health or Health({}))],
        middleware=[Middleware(Faults, settings=faults or FaultSettings())],
    )
    observed = Observed(app, Release("1", "blue"))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=observed), base_url="http://test")


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_request_id_is_kept_or_made() -> None:
    async with client() as http:
        kept = await http.get("/v1/things/7", headers={"X-Request-ID": "edge-1"})
        made = await http.get("/v1/things/7")
        refused = await http.get("/v1/things/7", headers={"X-Request-ID": 'bad" id'})
    assert kept.headers["x-request-id"] == kept.json()["request_id"] == "edge-1"
    assert len(made.headers["x-request-id"]) == 32
    assert refused.headers["x-request-id"] != 'bad" id'


async def test_latency_is_measured_by_route_and_never_by_id() -> None:
    name = "gym_http_request_duration_seconds_count"
    labels = {"route": "/v1/things/{id}", "method": "GET", "status": "200"}
    before, errors = sample(name, **labels), sample("gym_http_responses_total", code_class="4xx")
    async with client() as http:
        await http.get("/v1/things/1")
        await http.get("/v1/things/2")
        missing = await http.get("/no/such/route")
        metrics = (await http.get("/metrics")).text
    assert missing.status_code == 404
    assert sample(name, **labels) == before + 2
    assert sample("gym_http_responses_total", code_class="4xx") == errors + 1
    assert "/v1/things/1" not in metrics
    assert "/no/such/route" not in metrics


async def test_an_unhandled_error_is_a_500_in_log_and_metrics(caplog: pytest.LogCaptureFixture) -> None:
    before = sample("gym_http_responses_total", code_class="5xx")
    async with client() as http:
        answer = await http.get("/v1/broken", headers={"X-Request-ID": "edge-2"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "edge-2"
    assert sample("gym_http_responses_total", code_class="5xx") == before + 1
    assert any(record.exc_info and record.message == "unhandled error" for record in caplog.records)


async def test_faults_hit_the_api_and_spare_the_probes() -> None:
    async with client(FaultSettings(error_rate=1)) as http:
        assert (await http.get("/v1/things/1")).status_code == 500
        assert (await http.get("/healthz")).status_code == 200
    async with client(FaultSettings(latency_seconds=0.2)) as http:
        assert (await http.get("/v1/things/1")).elapsed.total_seconds() >= 0.2
        assert (await http.get("/healthz")).elapsed.total_seconds() < 0.2
    async with client(FaultSettings(error_rate=0.5)) as http:
        seen = {(await http.get("/v1/things/1")).status_code for _ in range(64)}
    assert seen == {200, 500}


@pytest.mark.parametrize("path", ["/v1/things/1", "/v1/broken", "/healthz", "/no/such/route"])
async def test_every_answer_names_the_release(path: str) -> None:
    async with client() as http:
        assert (await http.get(path)).headers["x-release"] == "1"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_of_development_says_how_long_it_takes(method: str) -> None:
    development = FaultSettings.parse(Reader({"PLATFORM_ENVIRONMENT": "development"}))
    async with client(development) as http:
        assert (await http.request(method, "/v1/things/1?delay=0.2")).elapsed.total_seconds() >= 0.2
        assert (await http.request(method, "/v1/things/1")).elapsed.total_seconds() < 0.2
        for value in ("15.1", "99999", "-1", "nan", "long"):
            refused = await http.request(method, f"/v1/things/1?delay={value}")
            assert (refused.status_code, refused.json()) == (
                400,
                {"error": "delay must be a number of seconds from 0 to 15"},
            )
    production = FaultSettings.parse(Reader({"PLATFORM_ENVIRONMENT": "production"}))
    async with client(production) as http:
        assert (await http.request(method, "/v1/things/1?delay=5")).elapsed.total_seconds() < 1


async def test_a_drill_is_never_ready() -> None:
    async with client(health=Health({"FAULT_READY": Dependency(never, required=True)})) as http:
        assert (await http.get("/readyz")).json() == {"status": "not ready", "down": ["FAULT_READY"]}


async def test_ready_says_what_is_down_and_stops_only_for_what_is_required() -> None:
    dependencies = Dependencies()

    def health() -> Health:
        return Health(
            {
                "database": Dependency(dependencies.database, required=True),
                "redis": Dependency(dependencies.redis, required=False),
            }
        )

    async with client(health=health()) as http:
        degraded = await http.get("/readyz")
        await http.get("/readyz")
    assert degraded.status_code == 200
    assert degraded.json() == {"status": "degraded", "down": ["redis"]}
    assert dependencies.asked == 1, "the second probe within a second costs the database nothing"
    dependencies.database_up = False
    async with client(health=health()) as http:
        down = await http.get("/readyz")
    assert down.status_code == 503
    assert down.json() == {"status": "not ready", "down": ["database", "redis"]}


async def test_version_tells_the_colour() -> None:
    async with client() as http:
        assert (await http.get("/version")).json() == {"version": "1", "colour": "blue"}


async def test_a_line_of_log_is_json_with_the_request_id() -> None:
    token = request_id.set("edge-3")
    try:
        record = logging.makeLogRecord({"name": "gym_api", "levelname": "INFO", "msg": "a\nb", "status": 201})
        line = JsonFormatter().format(record)
    finally:
        request_id.reset(token)
    assert "\n" not in line
    assert json.loads(line) | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "gym_api",
        "message": "a\nb",
        "request_id": "edge-3",
        "status": 201,
    }
