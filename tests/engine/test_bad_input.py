"""What cannot be taken is refused by name at every door, and leaves nothing half-written behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from tests.conftest import made_database
from tidemill import InvalidInput, Settings, Tidemill
from tidemill.engine import Schedule
from tidemill.engine.declare import declare_kinds
from tidemill.postgres import Database, tenant_session

from .api_app import Greeting, Point, add_jobs, greet, loose, nothing, plot, post
from .test_api_arguments import TOO_DEEP

NESTED: Any = msgspec.json.decode('{"a":' * 101 + "1" + "}" * 101)
"""Could be sent, and could be read or not, by how deep the reader stands itself."""
AT = datetime(2026, 1, 1, tzinfo=UTC)
TENANT = UUID("0c0c0c0c-0000-4000-8000-000000000001")
SELF: dict[str, Any] = {}
SELF["self"] = [SELF]
GREET, LOOSE = "tests.engine.api_app.greet", "tests.engine.api_app.loose"


@pytest.fixture(scope="module")
def url(server_url: str, owner_url: str, _template: str) -> Iterator[str]:
    """One database for all of it: nothing is ever written to it but one good job."""
    with made_database(server_url, owner_url, template=_template) as made:
        yield made


async def counts(db: Database) -> dict[str, int]:
    """Rows of every table of the engine's."""
    tables = await db.fetch(
        "select oid::regclass::text as name from pg_class"
        " where relkind = 'r' and relnamespace = 'tidemill'::regnamespace"
    )
    union = " union all ".join(f"select '{t['name']}' as name, count(*) as n from {t['name']}" for t in tables)
    found = {row["name"]: row["n"] for row in await db.fetch(union)}
    assert {"tidemill.job_ready", "tidemill.unique_key", "tidemill.batch", "tidemill.schedule"} <= found.keys()
    return found


# Python --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bad:
    """A job that cannot be taken, and the field that says so."""

    field: str
    job: Any = nothing
    args: Any = None
    options: dict[str, Any] = field(default_factory=dict[str, Any])


def said(field: str, **options: Any) -> Bad:
    return Bad(field, options=options)


BAD = {
    "unknown kind": Bad("kind", "nobody"),
    "kind of 10 kB": Bad("kind", "k" * 10_000),
    "kind with a NUL": Bad("kind", "a\0"),
    "undeclared function": Bad("job", print),
    "no function": Bad("job", None),
    "argument of the wrong type": Bad("args.name", greet, {"name": 1}),
    "missing argument": Bad("args.name", greet, {}),
    "unknown argument": Bad("args.nmae", greet, {"name": "x", "nmae": "y"}),
    "wrong in an instance": Bad("args.name", greet, Greeting(name=3)),  # type: ignore[arg-type]
    "bool for an int": Bad("args.x", plot, {"x": True, "y": 1}),
    "float for an int": Bad("args.y", plot, Point(x=1, y=2.5)),  # type: ignore[typeddict-item]
    "out of a model's bounds": Bad("args.copies", post, {"to": "x", "copies": 0}),
    "args are text": Bad("args", loose, "text"),
    "args are a list": Bad("args", loose, [1]),
    "args of 50 MB": Bad("args", loose, {"a": "x" * 50_000_000}),
    "NUL in args": Bad("args", loose, {"a": ["x\0"]}),
    "NUL in a name of args": Bad("args", loose, {"\0": 1}),
    "lone surrogate in args": Bad("args", loose, {"a": "\ud800"}),
    "NaN in args": Bad("args", loose, {"a": float("nan")}),
    "Infinity in args": Bad("args", loose, {"a": [float("-inf")]}),
    "deep args": Bad("args", loose, TOO_DEEP),
    "args that a worker could just not read": Bad("args", loose, NESTED),
    "args that hold themselves": Bad("args", loose, SELF),
    "args that are no JSON": Bad("args", loose, {"a": object()}),
    "naive at": said("at", at=datetime(2026, 1, 1)),
    "at is text": said("at", at="tomorrow"),
    "at beyond all years": said("at", at=datetime.max.replace(tzinfo=timezone(-timedelta(hours=14)))),
    "at before all years": said("at", at=datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))),
    "at and delay": said("delay", at=AT, delay=1),
    "negative delay": said("delay", delay=-1),
    "negative timedelta": said("delay", delay=timedelta(seconds=-1)),
    "endless timedelta": said("delay", delay=timedelta.max),
    "NaN delay": said("delay", delay=float("nan")),
    "infinite delay": said("delay", delay=float("inf")),
    "delay is text": said("delay", delay="1"),
    "delay is a bool": said("delay", delay=True),
    "delay is a Decimal": said("delay", delay=Decimal(1)),
    "empty key": said("key", key=""),
    "key of 10 kB": said("key", key="k" * 10_000),
    "NUL in a key": said("key", key="a\0"),
    "lone surrogate in a key": said("key", key="\ud800"),
    "key is a number": said("key", key=7),
    "priority too high": said("priority", priority=1001),
    "priority too low": said("priority", priority=-1001),
    "huge priority": said("priority", priority=2**70),
    "priority is a bool": said("priority", priority=True),
    "priority is text": said("priority", priority="high"),
    "priority is a float": said("priority", priority=1.5),
    "no attempts": said("max_attempts", max_attempts=0),
    "too many attempts": said("max_attempts", max_attempts=100_000),
    "attempts are a bool": said("max_attempts", max_attempts=True),
    "tenant is text": said("tenant", tenant="acme"),
    "tenant is a uuid's text": said("tenant", tenant=str(TENANT)),
    "unknown option": said("options", colour="red"),
}


async def one(app: Tidemill, bad: Bad) -> None:
    await app.enqueue(bad.job, bad.args, **bad.options)


async def many(app: Tidemill, bad: Bad) -> None:
    good = app.prepare(nothing, key="good")
    await app.enqueue_many([good, app.prepare(bad.job, bad.args, **bad.options), good])


async def in_a_transaction(app: Tidemill, bad: Bad) -> None:
    async with app.rooms.db.transaction() as conn:
        await app.enqueue(nothing, key="good", conn=conn)
        await app.enqueue(bad.job, bad.args, conn=conn, **bad.options)


async def in_a_batch(app: Tidemill, bad: Bad) -> None:
    async with app.batch() as batch:
        batch.add(nothing, key="good")
        batch.add(bad.job, bad.args, **bad.options)


async def first_of_a_chain(app: Tidemill, bad: Bad) -> None:
    await app.chain(app.prepare(bad.job, bad.args, **bad.options), app.prepare(nothing))


async def last_of_a_chain(app: Tidemill, bad: Bad) -> None:
    await app.chain(app.prepare(nothing, key="good"), app.prepare(bad.job, bad.args, **bad.options))


DOORS: list[Callable[[Tidemill, Bad], Awaitable[None]]] = [
    one,
    many,
    in_a_transaction,
    in_a_batch,
    first_of_a_chain,
    last_of_a_chain,
]


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_job_is_refused_at_every_door_of_python(url: str, name: str) -> None:
    bad = BAD[name]
    app = Tidemill(Settings(database_url=url, env="test"))
    add_jobs(app)
    async with app:
        await app.rooms.engine.names.learn(app.rooms.db, [k.name for k in app.rooms.engine.registry], ["default"])
        before = await counts(app.rooms.db)
        for door in DOORS:
            with pytest.raises(InvalidInput) as refused:
                await door(app, bad)
            assert refused.value.field == bad.field, door.__name__
            assert len(str(refused.value)) < 1000, door.__name__
            assert await counts(app.rooms.db) == before, door.__name__


async def _batch(app: Tidemill, **options: Any) -> None:
    async with app.batch(**options) as batch:
        batch.add(nothing, key="good")


async def _schedule(app: Tidemill, kind: str = LOOSE, *, name: str = "s", **spec: Any) -> None:
    await app.rooms.schedules.declare(Schedule(name=name, kind=kind, **spec))


async def _on_a_connection_of_its_own(app: Tidemill) -> None:
    async with app.rooms.db.connection() as conn:
        await _batch(app, conn=conn)


AROUND: dict[str, tuple[str, Callable[[Tidemill], Awaitable[object]]]] = {
    "naive deadline": ("deadline", lambda app: _batch(app, deadline=datetime(2026, 1, 1))),
    "deadline is text": ("deadline", lambda app: _batch(app, deadline="soon")),
    "deadline is a bool": ("deadline", lambda app: _batch(app, deadline=True)),
    "a batch's tenant is text": ("tenant", lambda app: _batch(app, tenant="acme")),
    "a batch's connection is text": ("conn", lambda app: _batch(app, conn="postgresql://")),
    "after a batch, an unknown kind": ("kind", lambda app: _batch(app, on_done="nobody")),
    "after a batch, bad arguments": ("args.name", lambda app: _batch(app, on_done=greet, args={"name": 1})),
    "a chain of nothing": ("steps", lambda app: app.chain()),
    "an empty step": ("steps", lambda app: app.chain(app.prepare(nothing), [])),
    "a step is text": ("steps", lambda app: app.chain("text")),  # type: ignore[arg-type]
    "a chain's tenant is text": ("tenant", lambda app: app.chain(app.prepare(nothing), tenant="acme")),  # type: ignore[arg-type]
    "a chain's connection is text": ("conn", lambda app: app.chain(app.prepare(nothing), conn="x")),
    "a job of many is a function": ("jobs", lambda app: app.enqueue_many([nothing])),  # type: ignore[list-item]
    "a connection that commits by itself": ("conn", _on_a_connection_of_its_own),
    "a connection is text": ("conn", lambda app: app.enqueue(nothing, conn="postgresql://")),
    "cron of nonsense": ("cron", lambda app: _schedule(app, cron="every tide")),
    "cron out of range": ("minute", lambda app: _schedule(app, cron="61 * * * *")),
    "cron of a day that never comes": ("day of month", lambda app: _schedule(app, cron="0 0 30 2 *")),
    "a zone that does not exist": ("timezone", lambda app: _schedule(app, cron="0 9 * * *", timezone="Mars/Base")),
    "a zone with a NUL": ("timezone", lambda app: _schedule(app, cron="0 9 * * *", timezone="UTC\0")),
    "a zone outside its folder": (
        "timezone",
        lambda app: _schedule(app, cron="0 9 * * *", timezone="../../etc/passwd"),
    ),
    "every nothing": ("every", lambda app: _schedule(app, every="0s")),
    "every is a number": ("every", lambda app: _schedule(app, every=60)),
    "a rule of nonsense": ("FREQ", lambda app: _schedule(app, rrule="FREQ=TIDAL")),
    "a misfire of nonsense": ("misfire", lambda app: _schedule(app, every="1h", misfire="often")),
    "a schedule's bad arguments": ("args.name", lambda app: _schedule(app, GREET, every="1h", args={"name": 1})),
    "a schedule's empty name": ("name", lambda app: _schedule(app, every="1h", name="")),
    "a schedule's name with a NUL": ("name", lambda app: _schedule(app, every="1h", name="a\0")),
}


@pytest.mark.parametrize("name", AROUND)
async def test_what_is_said_around_jobs_is_checked_too(url: str, name: str) -> None:
    field, do = AROUND[name]
    app = Tidemill(Settings(database_url=url, env="test"))
    add_jobs(app)
    async with app:
        await app.rooms.engine.names.learn(app.rooms.db, [k.name for k in app.rooms.engine.registry], ["default"])
        before = await counts(app.rooms.db)
        with pytest.raises(InvalidInput) as refused:
            await do(app)
        assert refused.value.field == field
        assert await counts(app.rooms.db) == before


# SQL -----------------------------------------------------------------------------------------------------------------

REFUSED = "TM003"
ONE = "select tidemill.enqueue({})"
MANY = "select tidemill.enqueue_many({})"
FROM_A_TENANT = "select public.tidemill_enqueue({})"
GOOD = '{"kind": "tests.engine.api_app.loose", "key": "good"}'
BAD_SQL: dict[str, tuple[str, str, str | None]] = {
    "unknown kind": (ONE.format("'nobody'"), REFUSED, "kind"),
    "args are a list": (ONE.format(f"'{LOOSE}', '[]'"), REFUSED, "args"),
    "args of 50 MB": (ONE.format(f"'{LOOSE}', jsonb_build_object('', repeat('x', 50000000))"), REFUSED, "args"),
    "key of 10 kB": (ONE.format(f"'{LOOSE}', key => repeat('k', 10000)"), REFUSED, "key"),
    "priority too high": (ONE.format(f"'{LOOSE}', priority => 1001"), REFUSED, "priority"),
    "negative delay": (ONE.format(f"'{LOOSE}', delay => '-1 s'"), REFUSED, "delay"),
    "run_at and delay": (ONE.format(f"'{LOOSE}', run_at => now(), delay => '1 s'"), REFUSED, "delay"),
    "run_at is infinite": (ONE.format(f"'{LOOSE}', run_at => '-infinity'"), REFUSED, "run_at"),
    "queue that nobody serves": (ONE.format(f"'{LOOSE}', queue => 'nowhere'"), REFUSED, "queue"),
    "no attempts": (ONE.format(f"'{LOOSE}', max_attempts => 0"), REFUSED, "max_attempts"),
    "NUL in args": (ONE.format(f"""'{LOOSE}', '{{"a": "\\u0000"}}'"""), "22P05", None),
    "lone surrogate in args": (ONE.format(f"""'{LOOSE}', '{{"a": "\\ud800"}}'"""), "22P02", None),
    "NaN in args": (ONE.format(f"""'{LOOSE}', '{{"a": NaN}}'"""), "22P02", None),
    "deep args": (ONE.format(f"'{LOOSE}', ('{{\"a\": ' || repeat('[', 100000) || '}}')::jsonb"), "54001", None),
    "args that no worker could read": (
        ONE.format(f"'{LOOSE}', ('{{\"a\": ' || repeat('[', 1500) || repeat(']', 1500) || '}}')::jsonb"),
        REFUSED,
        "args",
    ),
    "a number that no worker could read": (ONE.format(f"'{LOOSE}', '{{\"a\": [1e400]}}'"), REFUSED, "args"),
    "tenant: args that no worker could read": (
        FROM_A_TENANT.format(f"'{LOOSE}', ('{{\"a\": ' || repeat('[', 1500) || repeat(']', 1500) || '}}')::jsonb"),
        REFUSED,
        "args",
    ),
    "tenant: a number that no worker could read": (
        FROM_A_TENANT.format(f"'{LOOSE}', jsonb_build_object('a', repeat('9', 5000)::numeric)"),
        REFUSED,
        "args",
    ),
    "huge priority": (ONE.format(f"'{LOOSE}', priority => 99999999999"), "42883", None),
    "many: one of two is bad": (MANY.format(f"""'[{GOOD}, {{"kind": "nobody"}}]'"""), REFUSED, "kind"),
    "many: huge priority": (
        MANY.format(f"""'[{GOOD}, {{"kind": "{LOOSE}", "priority": 1e70}}]'"""),
        REFUSED,
        "priority",
    ),
    "many: bool for a number": (
        MANY.format(f"""'[{GOOD}, {{"kind": "{LOOSE}", "priority": true}}]'"""),
        REFUSED,
        "priority",
    ),
    "many: run_at is no instant": (
        MANY.format(f"""'[{GOOD}, {{"kind": "{LOOSE}", "run_at": "soon"}}]'"""),
        REFUSED,
        "run_at",
    ),
    "many: not an array": (MANY.format(f"'{GOOD}'"), REFUSED, "jobs"),
    "tenant: kind not exposed": (FROM_A_TENANT.format(f"'{GREET}'"), REFUSED, "kind"),
    "tenant: kind is NULL": (FROM_A_TENANT.format("null"), REFUSED, "kind"),
    "tenant: args are a list": (FROM_A_TENANT.format(f"'{LOOSE}', '[]'"), REFUSED, "args"),
    "tenant: args are NULL": (FROM_A_TENANT.format(f"'{LOOSE}', null"), REFUSED, "args"),
    "tenant: args of 50 MB": (
        FROM_A_TENANT.format(f"'{LOOSE}', jsonb_build_object('', repeat('x', 50000000))"),
        REFUSED,
        "args",
    ),
}


@pytest.mark.parametrize("name", BAD_SQL)
async def test_a_bad_job_is_refused_at_every_door_of_sql(url: str, name: str) -> None:
    statement, sqlstate, field = BAD_SQL[name]
    async with await declared(url) as db:
        before = await counts(db)
        with pytest.raises(asyncpg.PostgresError) as refused:
            if statement.startswith("select public."):
                async with tenant_session(db, {"company_id": str(TENANT)}) as conn:
                    await conn.execute(statement)
            else:
                await db.execute(statement)
        assert (refused.value.sqlstate, refused.value.column_name) == (sqlstate, field)  # type: ignore[attr-defined]
        if field is not None:
            assert str(refused.value).startswith(f"{field}: ")
        assert await counts(db) == before


@pytest.mark.parametrize(
    "claim",
    [None, "", "acme", 7, True, f"{TENANT} ", f"{TENANT}\\u0000", [str(TENANT)], "' or true --", "x" * 10_000],
    ids=["null", "empty", "text", "number", "bool", "trailing space", "NUL", "list", "injection", "long"],
)
async def test_a_claim_that_is_no_tenant_enqueues_nothing(url: str, claim: object) -> None:
    async with await declared(url) as db:
        before = await counts(db)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="no uuid in its claim company_id"):
            async with tenant_session(db, {"company_id": claim}) as conn:
                await conn.execute(FROM_A_TENANT.format(f"'{LOOSE}'"))
        assert await counts(db) == before


async def declared(url: str) -> Database:
    """A database that knows the kinds; one of them is exposed to tenants."""
    app = Tidemill()
    add_jobs(app)
    db = await Database.open(url, max_size=2)
    await declare_kinds(
        db, [replace(kind, exposed="company_id") if kind.name == LOOSE else kind for kind in app._registry]
    )
    return db
