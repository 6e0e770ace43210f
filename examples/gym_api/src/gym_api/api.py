"""The HTTP API. Everything is JSON; the tenant comes from the bearer token and from nowhere else."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gym_api import assets, check_ins
from gym_api.cache import Cache, CacheUnavailableError
from gym_api.check_ins import CheckIn
from gym_api.database import Connection, Database, DatabaseUnavailableError, row, rows
from gym_api.health import Health, operations
from gym_api.observe import Faults, Observed
from gym_api.security import SESSION_PREFIX, SessionTokens, new_kiosk_token, token_digest, verify_password
from gym_api.settings import Settings

_BODY_BYTES = 64 * 1024
_PAGE, _LONGEST_PAGE = 50, 500
_FAILED_LOGINS_PER_HOUR = 20
_HEARTBEAT_DEADLINE_SECONDS = 5


@dataclass(frozen=True)
class Principal:
    """Who asks: a kiosk or a member of staff, of one gym."""

    kind: Literal["kiosk", "staff"]
    tenant: UUID
    id: UUID


class Api:
    """The handlers, and what they share."""

    def __init__(self, settings: Settings, database: Database, cache: Cache) -> None:
        """Serve from this database and this cache."""
        self._database = database
        self._cache = cache
        self._requests_per_hour = settings.requests_per_hour
        self._tokens = SessionTokens(settings.session_signing_key)

    def routes(self) -> list[Route]:
        """Return the table of contents."""
        return [
            Route("/v1/sessions", self.log_in, methods=["POST"]),
            Route("/v1/sessions/current", self.log_out, methods=["DELETE"]),
            Route("/v1/members", self.list_members),
            Route("/v1/members", self.add_member, methods=["POST"]),
            Route("/v1/kiosks", self.list_kiosks),
            Route("/v1/kiosks", self.add_kiosk, methods=["POST"]),
            Route("/v1/kiosks/heartbeat", self.heartbeat, methods=["POST"]),
            Route("/v1/check-ins", self.check_in, methods=["POST"]),
            Route("/v1/check-ins/{id}", self.show_check_in),
            Route("/v1/attendance", self.attendance),
        ]

    # -- staff

    async def log_in(self, request: Request) -> Response:
        """Open a session for 30 days."""
        body = await _body(request)
        slug, user_name, password = (_text(body, name) for name in ("tenant", "user_name", "password"))
        subject = f"login:{token_digest(f'{slug}/{user_name}').hex()[:32]}"
        if await self._cache.rate_limit.reached(subject, _FAILED_LOGINS_PER_HOUR):
            raise _too_many()

        async def work(connection: Connection) -> dict[str, Any] | None:
            return await row(connection, "select * from gym.find_staff(%s, %s)", slug, user_name)

        staff = await self._database.run("find_staff", work, deadline_seconds=10)
        if not await verify_password(password, staff["password_hash"] if staff else None) or staff is None:
            await self._cache.rate_limit.count(subject)
            raise HTTPException(401, "the gym, the user name or the password is wrong")
        token = self._tokens.new()
        await self._cache.sessions.create(token, staff["tenant_id"], staff["staff_id"])
        return _json({"token": token}, 201)

    async def log_out(self, request: Request) -> Response:
        """End the session that the token belongs to."""
        await self._authenticate(request, "staff")
        await self._cache.sessions.end(_bearer(request))
        return Response(status_code=204)

    async def list_members(self, request: Request) -> Response:
        """List members, page by page."""
        principal = await self._authenticate(request, "staff")
        limit = _whole(request, "limit", _PAGE, _LONGEST_PAGE)
        after = _uuid(request.query_params.get("after") or str(UUID(int=0)), "after")

        async def work(connection: Connection) -> list[dict[str, Any]]:
            query = "select id, name, joined_at from gym.members where id > %s order by id limit %s"
            return await rows(connection, query, after, limit)

        members = await self._database.run(
            "list_members", work, tenant=principal.tenant, endpoint="reader", deadline_seconds=10
        )
        return _json({"members": members, "next": members[-1]["id"] if len(members) == limit else None})

    async def add_member(self, request: Request) -> Response:
        """Add a member."""
        principal = await self._authenticate(request, "staff")
        member, name = uuid4(), _text(await _body(request), "name")

        async def work(connection: Connection) -> None:
            statement = "insert into gym.members (tenant_id, id, name) values (%s, %s, %s) on conflict do nothing"
            await connection.execute(statement, [principal.tenant, member, name])

        await self._database.run("add_member", work, tenant=principal.tenant)
        return _json({"id": member, "name": name}, 201)

    async def list_kiosks(self, request: Request) -> Response:
        """List kiosks with their last heartbeat."""
        principal = await self._authenticate(request, "staff")

        async def work(connection: Connection) -> list[dict[str, Any]]:
            query = """
                select k.id, k.name, h.received_at as last_heartbeat_at
                from gym.kiosks k
                left join gym.kiosk_heartbeats h on h.tenant_id = k.tenant_id and h.kiosk_id = k.id
                order by k.id
            """
            return await rows(connection, query)

        kiosks = await self._database.run("list_kiosks", work, tenant=principal.tenant, endpoint="reader")
        return _json({"kiosks": kiosks})

    async def add_kiosk(self, request: Request) -> Response:
        """Add a kiosk; its token is in this answer and nowhere else."""
        principal = await self._authenticate(request, "staff")
        kiosk, name, token = uuid4(), _text(await _body(request), "name"), new_kiosk_token()

        async def work(connection: Connection) -> None:
            statement = (
                "insert into gym.kiosks (tenant_id, id, name, token_digest) values (%s, %s, %s, %s)"
                " on conflict do nothing"
            )
            await connection.execute(statement, [principal.tenant, kiosk, name, token_digest(token)])

        await self._database.run("add_kiosk", work, tenant=principal.tenant)
        return _json({"id": kiosk, "name": name, "token": token}, 201)

    async def attendance(self, request: Request) -> Response:
        """Count a day's check-ins, today's by default."""
        principal = await self._authenticate(request, "staff")
        day = _day(request.query_params.get("day"))

        async def load() -> dict[str, int]:
            return await check_ins.attendance(self._database, principal.tenant, day)

        counted = await self._cache.attendance.get(principal.tenant, day, load)
        return _json({"day": day, **counted})

    # -- kiosks

    async def check_in(self, request: Request) -> Response:
        """Let a member in. The same key always gives the same check-in."""
        principal = await self._authenticate(request, "kiosk")
        key = _uuid(request.headers.get("idempotency-key"), "Idempotency-Key")
        member = _uuid((await _body(request)).get("member_id"), "member_id")
        try:
            check_in, created = await check_ins.record(self._database, principal.tenant, principal.id, member, key)
        except check_ins.UnknownMemberError as error:
            raise HTTPException(404, "the gym has no such member") from error
        except check_ins.KeyReusedError as error:
            raise HTTPException(409, "the Idempotency-Key belongs to the check-in of another member") from error
        # Also after a repeat: the first answer may have been lost together with this very step.
        await self._cache.attendance.invalidate(principal.tenant, check_in.day)
        return _json(_shown(check_in), 201, {} if created else {"Idempotent-Replay": "true"})

    async def heartbeat(self, request: Request) -> Response:
        """Note that a kiosk is alive."""
        principal = await self._authenticate(request, "kiosk")

        async def work(connection: Connection) -> None:
            statement = (
                "insert into gym.kiosk_heartbeats (tenant_id, kiosk_id, received_at) values (%s, %s, now())"
                " on conflict (tenant_id, kiosk_id) do update set received_at = excluded.received_at"
            )
            await connection.execute(statement, [principal.tenant, principal.id])

        await self._database.run(
            "heartbeat", work, tenant=principal.tenant, deadline_seconds=_HEARTBEAT_DEADLINE_SECONDS
        )
        return Response(status_code=204)

    # -- both

    async def show_check_in(self, request: Request) -> Response:
        """Show a check-in, from a reader unless `?fresh=true`."""
        principal = await self._authenticate(request, "kiosk", "staff")
        wanted = _uuid(request.path_params["id"], "id")
        endpoint: Literal["writer", "reader"] = "writer" if request.query_params.get("fresh") == "true" else "reader"
        found = await check_ins.find(self._database, principal.tenant, wanted, endpoint)
        if found is None:
            # Another gym's check-in looks exactly like none.
            raise HTTPException(404, "there is no such check-in")
        return _json(_shown(found))

    async def _authenticate(self, request: Request, *kinds: Literal["kiosk", "staff"]) -> Principal:
        token = _bearer(request)
        principal = await (self._staff(token) if token.startswith(SESSION_PREFIX) else self._kiosk(token))
        if principal is None:
            raise HTTPException(401, "the token is not valid", {"WWW-Authenticate": "Bearer"})
        if principal.kind not in kinds:
            raise HTTPException(403, f"this is not for a token of a {principal.kind}")
        if await self._cache.rate_limit.exceeded(f"{principal.kind}:{principal.id}", self._requests_per_hour):
            raise _too_many()
        return principal

    async def _staff(self, token: str) -> Principal | None:
        if not self._tokens.is_genuine(token):
            return None
        session = await self._cache.sessions.find(token)
        return Principal("staff", *session) if session else None

    async def _kiosk(self, token: str) -> Principal | None:
        async def work(connection: Connection) -> dict[str, Any] | None:
            return await row(connection, "select * from gym.find_kiosk(%s)", token_digest(token))

        found = await self._database.run("find_kiosk", work)
        return Principal("kiosk", found["tenant_id"], found["kiosk_id"]) if found else None


def create_app(settings: Settings, database: Database, cache: Cache, health: Health) -> Observed:
    """Build the API."""
    return Observed(
        Starlette(
            routes=[
                *Api(settings, database, cache).routes(),
                *assets.routes(settings.assets_directory),
                *operations(settings.release, health),
            ],
            middleware=[Middleware(Faults, settings=settings.faults)],
            exception_handlers={
                HTTPException: _refused,
                DatabaseUnavailableError: _unavailable,
                CacheUnavailableError: _unavailable,
                Exception: _broken,
            },
        ),
        settings.release,
    )


def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _json({"error": error.detail}, error.status_code, dict(error.headers or {}))


def _unavailable(_: Request, error: Exception) -> Response:
    what = "sessions" if isinstance(error, CacheUnavailableError) else "the database"
    return _json({"error": f"{what} cannot be reached; try again"}, 503, {"Retry-After": "1"})


def _broken(_: Request, __: Exception) -> Response:
    return _json({"error": "something is broken; the log knows more under this X-Request-ID"}, 500)


def _too_many() -> HTTPException:
    return HTTPException(429, "too many requests in this hour", {"Retry-After": "60"})


def _json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content, default=_plain), status, headers, "application/json")


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _shown(check_in: CheckIn) -> dict[str, object]:
    return {
        "id": check_in.id,
        "member_id": check_in.member_id,
        "kiosk_id": check_in.kiosk_id,
        "checked_in_at": check_in.checked_in_at,
    }


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise HTTPException(401, "a bearer token is missing", {"WWW-Authenticate": "Bearer"})
    return token


async def _body(request: Request) -> dict[str, Any]:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > _BODY_BYTES:
            raise HTTPException(413, f"the body is longer than {_BODY_BYTES} bytes")
    try:
        body = json.loads(data)
    except ValueError as error:
        raise HTTPException(400, "the body is not JSON") from error
    if not isinstance(body, dict):
        raise HTTPException(400, "the body is not a JSON object")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    # PostgreSQL's text has no NUL.
    if not isinstance(value, str) or not 0 < len(value) <= 200 or "\0" in value:
        raise HTTPException(400, f"{name} must be a text of 1 to 200 characters")
    return value


def _uuid(value: object, name: str) -> UUID:
    try:
        if not isinstance(value, str):
            raise ValueError
        return UUID(value)
    except ValueError as error:
        raise HTTPException(400, f"{name} must be a UUID") from error


def _whole(request: Request, name: str, default: int, most: int) -> int:
    value = request.query_params.get(name, str(default))
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= most:
        raise HTTPException(400, f"{name} must be a whole number from 1 to {most}")
    return int(value)


def _day(value: str | None) -> date:
    if value is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(value)
    except ValueError as error:
        raise HTTPException(400, "day must be a date such as 2026-01-31") from error
