"""Two companies with people in every role, and the API served over them."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, cast
from uuid import UUID, uuid4

import aiohttp
import msgspec

from tests.web.support import bearer, finished_door, settings_of, token_of
from tidemill.connectors import Context, ErrorKind, HttpClient, ProviderError, Spec
from tidemill.connectors.registry import Connectors
from tidemill.errors import InvalidInput
from tidemill.postgres import Database
from tidemill.sync.jobs import Checks
from tidemill.vault import Keyring, Vault
from tidemill.web.api import Api
from tidemill.web.functions import build_functions
from tidemill.web.rate_limit import RateLimit
from tidemill.web.serving import serving

VAULT = Vault(Keyring([("test", bytes(range(32)))]))
UNBOUNDED = RateLimit(1_000_000)
SECRET = "s3cret-of-a-tenant"
REVOKED = "a-token-of-yesterday"
ADMIN, MEMBER, OTHER = "admin", "member", "other company's admin"
T0 = datetime(2026, 1, 2, 3, 15, tzinfo=UTC)


class ShopConfig(msgspec.Struct, forbid_unknown_fields=True):
    shop: str
    region: Annotated[str, msgspec.Meta(pattern="^[a-z]{2}$")] = "tw"


class Shop:
    """A provider of the tests' own."""

    spec = Spec(name="shop", title="A shop", config=ShopConfig, secrets=("token", "refresh"))

    async def check(self, ctx: Context) -> None:
        """Does not let everybody in."""
        if ctx.token.reveal() == REVOKED:
            raise ProviderError(ErrorKind.TOKEN_INVALID, "the shop knows no such token", status=401)


class Counting:
    """A job type whose payload is one number."""

    name = "counting"

    def check(self, payload: Mapping[str, Any]) -> None:
        if not isinstance(payload.get("upto"), int):
            raise InvalidInput("upto", "must be a number")

    async def run(self, run: Any) -> Any:
        raise AssertionError("nothing runs here")


@dataclass
class Company:
    """A company with a connector, a job, a run, records and a notification."""

    id: UUID = field(default_factory=uuid4)
    connector: UUID = field(default_factory=uuid4)
    job: UUID = field(default_factory=uuid4)
    run: UUID = field(default_factory=uuid4)
    notification: UUID = field(default_factory=uuid4)
    admin: UUID = field(default_factory=uuid4)
    member: UUID = field(default_factory=uuid4)

    def token(self, who: str = ADMIN, **claims: Any) -> str:
        keys = ["Vibot.admin"] if who == ADMIN else ["Vibot.member"]
        user = self.admin if who == ADMIN else self.member
        return token_of(user, **{"company_id": str(self.id), "app_metadata": {"role_keys": keys}, **claims})

    async def create(self, db: Database, *, timezone: str | None = "Asia/Taipei") -> Company:
        for user in (self.admin, self.member):
            await db.execute("insert into auth.users (id) values ($1)", user)
        await db.execute(
            "insert into public.companies (id, code, name, timezone) values ($1, $2, 'A company', $3)",
            self.id,
            self.id.hex,
            timezone,
        )
        await db.execute(
            "insert into public.integration_connectors (id, company_id, provider, name, config) "
            "values ($1, $2, 'shop', 'The shop', $3)",
            self.connector,
            self.id,
            {"shop": "main"},
        )
        await db.execute(
            "insert into public.sync_jobs (id, company_id, connector_id, job_type, name) "
            "values ($1, $2, $3, 'sync', 'Every day')",
            self.job,
            self.id,
            self.connector,
        )
        await db.execute(
            "insert into public.sync_run_logs (id, company_id, job_id, connector_id, job_type, trigger, status, "
            "started_at, finished_at) values ($1, $2, $3, $4, 'sync', 'schedule', 'completed', $5, $5)",
            self.run,
            self.id,
            self.job,
            self.connector,
            T0,
        )
        await db.execute(
            "insert into public.sync_notifications (id, company_id, job_id, kind, message) "
            "values ($1, $2, $3, 'job_disabled', 'It failed ten times in a row.')",
            self.notification,
            self.id,
            self.job,
        )
        await self.add_records(db, 3)
        return self

    async def add_records(self, db: Database, count: int, *, stream: str = "orders", size: int = 0) -> None:
        await db.execute(
            "insert into public.synced_records (company_id, connector_id, stream, key, data, hash, first_seen_at, "
            "last_seen_at, changed_at) select $1, $2, $3, '[' || n || ']', "
            "jsonb_build_object('id', n, 'pad', repeat('x', $5)), 'h', "
            "$6, $6, $6::timestamptz + n * interval '1 minute' "
            "from generate_series(1, $4::int) as n",
            self.id,
            self.connector,
            stream,
            count,
            size,
            T0,
        )


class Client:
    """Calls the API as one caller, and holds every answer against the OpenAPI document."""

    def __init__(self, session: aiohttp.ClientSession, document: dict[str, Any], token: str | None) -> None:
        self.session = session
        self.document = document
        self.token = token

    def as_(self, token: str | None) -> Client:
        return Client(self.session, self.document, token)

    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Reply:
        sent = {**(bearer(self.token) if self.token else {}), **(headers or {})}
        if body is not None:
            options["data"] = body if isinstance(body, bytes) else msgspec.json.encode(body)
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(method, "/api/v1" + path, headers=sent, **options) as response:
            raw = await response.read()
            reply = Reply(response.status, response.headers.copy(), msgspec.json.decode(raw) if raw else None)
        self.check(method, path, reply)
        return reply

    def check(self, method: str, path: str, reply: Reply) -> None:
        """Nothing is answered that the document does not tell of."""
        assert reply.status < 500, reply
        template = re.sub(r"/[0-9a-f-]{36}(?=/|$)", "/{id}", "/api/v1" + path.split("?")[0])
        operation = self.document["paths"].get(template, {}).get(method.lower())
        if reply.status >= 400:
            assert reply.headers["Content-Type"] == "application/problem+json"
            assert reply.body.keys() == {"type", "title", "status", "detail", "code", "id", "errors"}
            assert (reply.body["status"], reply.body["id"]) == (reply.status, reply.headers["X-Request-Id"])
            assert reply.body["type"] == "urn:tidemill:problem:" + reply.body["code"].lower().replace("_", "-")
        if operation is None:
            return
        told = operation["responses"].get(str(reply.status))
        assert told, f"{method} {path}: {reply.status} {reply.body} is not documented"
        if reply.status >= 400:
            schema = told["content"]["application/problem+json"]["schema"]
            assert reply.body["code"] in schema["allOf"][1]["properties"]["code"]["enum"], (method, path, reply.body)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str | None:
        return self.body["code"] if self.status >= 400 else None

    @property
    def fields(self) -> list[str]:
        return [error["field"] for error in self.body["errors"]]


SHOPS = Connectors({"shop": cast("Any", Shop())})


def api_of(**changed: Any) -> Api:
    options: dict[str, Any] = {"job_types": {"counting": Counting()}, "reads": UNBOUNDED, "writes": UNBOUNDED}
    return Api(changed.pop("providers", SHOPS), changed.pop("vault", VAULT), **{**options, **changed})


@asynccontextmanager
async def served(db: Database, api: Api | None = None, **settings: Any) -> AsyncIterator[Client]:
    """The API on a free port, and a client of nobody."""
    checks = Checks(SHOPS, cast("HttpClient", None), VAULT, db)  # a shop is asked without HTTP
    app = build_functions(settings_of(**settings), db, finished_door(), api or api_of(checks=checks))
    async with serving(app, host="127.0.0.1", port=0) as url, aiohttp.ClientSession(url) as session:
        async with session.get("/api/v1/openapi.json") as response:
            document = await response.json()
        yield Client(session, document, None)


def minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


__all__ = ["ADMIN", "MEMBER", "OTHER", "SECRET", "T0", "VAULT", "Client", "Company", "Reply", "served"]
