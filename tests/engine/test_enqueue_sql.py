"""tidemill.enqueue and its kin: from triggers, psql and PostgREST."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tidemill.engine import Context, Engine, Kind, NewJob, Registry
from tidemill.engine.arguments import LARGEST_BYTES
from tidemill.engine.declare import declare_kinds
from tidemill.postgres import Connection, Database, tenant_session

from .support import PATIENCE, working

TENANT = UUID("0c0c0c0c-0000-4000-8000-000000000001")
JOBS = "select count(*) from tidemill.job_ready"
ENQUEUE = "select tidemill.enqueue"


async def never(ctx: Context, args: dict[str, Any]) -> None:
    raise AssertionError("no worker runs here")


KINDS = [Kind("mail", never), Kind("bill", never, queue="money", priority=5, max_attempts=3)]


def exposing(**claims: str) -> list[Kind]:
    """The same, those named here exposed for the tenant in that claim."""
    return [dataclasses.replace(kind, exposed=claims.get(kind.name)) for kind in KINDS]


@pytest.fixture
async def conn(db: Database) -> AsyncIterator[Connection]:
    """A plain connection as the owner, to a database in which the kinds are declared."""
    await declare_kinds(db, KINDS)
    async with db.connection() as connection:
        yield connection


async def test_a_job_enqueued_from_psql_is_run_and_its_commit_wakes_the_worker(db: Database) -> None:
    ran: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def greet(ctx: Context, args: dict[str, Any]) -> None:
        ran.put_nowait(args)

    async with asyncio.timeout(PATIENCE), working(db, Kind("greet", greet)) as (engine, _):
        await declare_kinds(db, engine.registry)
        await db.execute("""select tidemill.enqueue('greet', '{"name": "tide"}')""")
        assert await ran.get() == {"name": "tide"}


async def test_a_job_takes_what_its_kind_declares_unless_it_says_otherwise(conn: Connection) -> None:
    await conn.execute("select tidemill.enqueue('bill')")
    await conn.execute("select tidemill.enqueue('bill', queue => 'default', priority => 7, max_attempts => 1)")
    rows = await conn.fetch(
        "select q.name, j.priority, j.max_attempts, j.args from tidemill.job_ready j"
        " join tidemill.queue q on q.id = j.queue order by j.id"
    )
    assert [tuple(row) for row in rows] == [("money", 5, 3, {}), ("default", 12, 1, {})]


async def test_the_same_job_is_the_same_row_whether_python_or_sql_enqueues_it(db: Database) -> None:
    registry = Registry()
    for kind in KINDS:
        registry.add(kind)
    await declare_kinds(db, registry)
    at, tenant = datetime(2040, 1, 2, tzinfo=UTC), uuid4()
    engine = Engine(db, registry)
    async with db.transaction() as conn:
        batch = await engine.open_batch(conn, on_close="mail", args={})
    await engine.enqueue_many(
        [
            NewJob(kind="bill", args={"a": [1]}, tenant=tenant, batch=batch, key="p", priority=2, max_attempts=9),
            NewJob(kind="mail", at=at),
        ]
    )
    python = await _rows(db)
    jobs = [
        {
            "kind": "bill",
            "args": {"a": [1]},
            "tenant": tenant,
            "batch": batch,
            "key": "p",
            "priority": 2,
            "max_attempts": 9,
        },
        {"kind": "mail", "run_at": at},
    ]
    await db.execute("truncate tidemill.job_ready, tidemill.job_delayed, tidemill.unique_key")
    await db.execute("select tidemill.enqueue_many($1)", jobs)
    assert await _rows(db) == python
    assert len(python) == 2
    assert await db.fetchval("select total from tidemill.batch") == 2


async def _rows(db: Database) -> list[dict[str, Any]]:
    """What is enqueued, without what differs from one job to the next; rank is told by its distance to the time."""
    rows = await db.fetch(
        "select job, rank - floor(extract(epoch from enqueued_at) * 1000) as ahead from"
        " (select to_jsonb(r) as job, rank, enqueued_at, kind from tidemill.job_ready r"
        " union all select to_jsonb(d), rank, enqueued_at, kind from tidemill.job_delayed d) j order by kind"
    )
    return [
        {k: v for k, v in row["job"].items() if k not in ("id", "rank", "enqueued_at")}
        | {"ahead": round(row["ahead"] / 1000)}
        for row in rows
    ]


async def test_a_held_key_raises_and_frees_with_the_callers_rollback(conn: Connection) -> None:
    transaction: Any = conn.transaction()
    await transaction.start()
    await conn.execute("select tidemill.enqueue('mail', key => 'k')")
    await transaction.rollback()
    await conn.execute("select tidemill.enqueue('mail', key => 'k')")
    with pytest.raises(asyncpg.PostgresError, match="key: a live 'mail' job already holds the key 'k'") as held:
        await conn.execute("select tidemill.enqueue('mail', key => 'k')")
    assert held.value.sqlstate == "TM002"
    await conn.execute("select tidemill.enqueue('bill', key => 'k')")
    assert await conn.fetchval(JOBS) == 2


async def test_many_jobs_come_back_in_order_with_null_for_a_held_key(conn: Connection) -> None:
    jobs = [{"kind": "mail", "key": key, "args": {"n": n}} for n, key in enumerate(["a", "b", "a", None])]
    ids = [row[0] for row in await conn.fetch("select tidemill.enqueue_many($1)", jobs)]
    assert [n is None for n in ids] == [False, False, True, False]
    rows = await conn.fetch("select id, (args ->> 'n')::int as n from tidemill.job_ready order by id")
    assert [(row["id"], row["n"]) for row in rows] == [(ids[0], 0), (ids[1], 1), (ids[3], 3)]
    assert await conn.fetch("select tidemill.enqueue_many('[]')") == []


async def test_a_delay_counts_from_tidemills_clock(conn: Connection) -> None:
    await conn.execute("select tidemill.advance_clock('10 days')")
    await conn.execute("select tidemill.enqueue('mail', delay => '1 hour')")
    await conn.execute("""select tidemill.enqueue_many('[{"kind": "mail", "delay": 3600.5}]')""")
    early, late = await conn.fetch("select run_at - enqueued_at as wait from tidemill.job_delayed order by id")
    assert 3599 < early["wait"].total_seconds() <= 3600
    assert 3599.5 < late["wait"].total_seconds() <= 3600.5


@pytest.mark.parametrize(
    ("call", "field", "message"),
    [
        (
            "('nobody')",
            "kind",
            r"no application has declared a job kind 'nobody'.*start a worker.*declared: bill, mail",
        ),
        ("(null)", "kind", "NULL"),
        ("('mail', '[]')", "args", "need to be a JSON object, not array"),
        ("('mail', null)", "args", "need to be a JSON object, not NULL"),
        ("('mail', jsonb_build_object('', repeat('x', 50000000)))", "args", "50000008 bytes.* 1048576"),
        ("('mail', queue => 'nowhere')", "queue", "'nowhere'.*known: default, money"),
        ("('mail', key => '')", "key", "1 to 500 characters, has 0"),
        ("('mail', key => repeat('k', 10000))", "key", "1 to 500 characters, has 10000"),
        ("('mail', priority => 1001)", "priority", "1001 is outside"),
        ("('mail', priority => -2147483648)", "priority", "outside"),
        ("('mail', delay => '-1 s')", "delay", "not from 0"),
        ("('mail', delay => '100 years')", "delay", "not from 0"),
        ("('mail', delay => '1 s', run_at => now())", "delay", "not both"),
        ("('mail', run_at => 'infinity')", "run_at", "infinity"),
        ("('mail', max_attempts => 0)", "max_attempts", "0 is outside"),
        ("_many(null)", "jobs", "JSON array"),
        ("""_many('{"kind": "mail"}')""", "jobs", "JSON array"),
        ("""_many('[{"kind": "mail"}, 7]')""", "jobs", "element 2 is not an object"),
        ("""_many('[{"kind": "mail"}, {}]')""", "kind", "NULL"),
        ("""_many('[{"kind": 7}]')""", "kind", "needs a JSON string, not 7"),
        ("""_many('[{"kind": "mail", "prio": 7}]')""", "prio", "is no field of a job; there are kind, args"),
        ("""_many('[{"kind": "mail", "args": null}]')""", "args", "needs a JSON object, not null"),
        ("""_many('[{"kind": "mail", "priority": "high"}]')""", "priority", "needs a JSON number"),
        ("""_many('[{"kind": "mail", "priority": 1.5}]')""", "priority", '"1.5"'),
        ("""_many('[{"kind": "mail", "max_attempts": 1e30}]')""", "max_attempts", "out of range"),
        ("""_many('[{"kind": "mail", "tenant": "acme"}]')""", "tenant", "uuid"),
        ("""_many('[{"kind": "mail", "batch": "acme"}]')""", "batch", "uuid"),
        ("""_many('[{"kind": "mail", "run_at": "soon"}]')""", "run_at", "soon"),
        ("""_many('[{"kind": "mail", "delay": "soon"}]')""", "delay", "soon"),
        ("""_many('[{"kind": "mail", "delay": {}}]')""", "delay", "needs a JSON number or string"),
        ("""_many('[{"kind": "mail", "key": "a"}, {"kind": "nobody"}]')""", "kind", "'nobody'"),
    ],
)
async def test_bad_input_is_refused_by_name_and_leaves_nothing(
    conn: Connection, call: str, field: str, message: str
) -> None:
    with pytest.raises(asyncpg.PostgresError, match=f"^{field}: .*{message}") as refused:
        await conn.execute(ENQUEUE + call)
    assert (refused.value.sqlstate, refused.value.column_name) == ("TM003", field)  # type: ignore[attr-defined]
    assert await conn.fetchval(JOBS) == 0
    assert await conn.fetchval("select count(*) from tidemill.unique_key") == 0


async def test_a_nul_cannot_be_enqueued(conn: Connection) -> None:
    with pytest.raises(asyncpg.UntranslatableCharacterError):
        await conn.execute("""select tidemill.enqueue('mail', '{"a": "\\u0000"}')""")
    with pytest.raises(asyncpg.CharacterNotInRepertoireError):
        await conn.execute("select tidemill.enqueue('mail', key => $1)", "a\0")


async def test_python_and_sql_allow_arguments_of_the_same_size(conn: Connection) -> None:
    assert await conn.fetchval("select tidemill.most_args_bytes()") == LARGEST_BYTES
    fits = {"": "x" * (LARGEST_BYTES - 8)}
    await conn.execute("select tidemill.enqueue('mail', $1)", fits)
    with pytest.raises(asyncpg.PostgresError, match="args: "):
        await conn.execute("select tidemill.enqueue('mail', $1)", {"": fits[""] + "x"})


# Declaring -----------------------------------------------------------------------------------------------------------


async def test_a_declaration_that_changes_nothing_writes_nothing(db: Database) -> None:
    versions = "select name, xmin::text from tidemill.kind order by name"
    await declare_kinds(db, exposing(mail="sub"))
    before = await db.fetch(versions)
    await declare_kinds(db, reversed(exposing(mail="sub")))
    assert await db.fetch(versions) == before
    await declare_kinds(db, KINDS)
    assert await db.fetchval("select bool_or(exposed) from tidemill.kind") is False


async def test_many_processes_may_declare_at_once(db: Database) -> None:
    kinds = [Kind(f"kind {n}", never, queue=f"queue {n % 7}") for n in range(50)]
    await asyncio.gather(*(declare_kinds(db, kinds[n:] + kinds[:n]) for n in range(0, 50, 5)))
    assert await db.fetchval("select count(queue) from tidemill.kind") == 50


async def test_a_kind_that_is_merely_named_is_not_declared(db: Database) -> None:
    await db.execute("select tidemill.intern_kind('ghost')")
    with pytest.raises(asyncpg.PostgresError, match=r"no application has declared a job kind 'ghost'.*declared: none"):
        await db.execute("select tidemill.enqueue('ghost')")


# Who may -------------------------------------------------------------------------------------------------------------


async def test_a_trigger_enqueues_with_the_row_that_a_tenant_writes(conn: Connection, db: Database) -> None:
    await conn.execute("""
        create table public.orders (id int primary key, total int);
        grant insert on public.orders to authenticated;
        create function public.order_placed() returns trigger language plpgsql security definer set search_path = ''
        as $$ begin
            perform tidemill.enqueue('bill', jsonb_build_object('order', new.id), key => new.id::text);
            return null;
        end $$;
        create trigger order_placed after insert on public.orders for each row execute function public.order_placed();
    """)
    async with tenant_session(db, {"sub": str(uuid4())}) as tenant:
        await tenant.execute("insert into public.orders values (1, 10), (2, 20)")
    with pytest.raises(ZeroDivisionError):
        async with tenant_session(db, {"sub": str(uuid4())}) as tenant:
            await tenant.execute("insert into public.orders values (3, 30)")
            raise ZeroDivisionError
    rows = await conn.fetch("select args, key from tidemill.job_ready order by id")
    assert [(row["args"], row["key"]) for row in rows] == [({"order": 1}, "1"), ({"order": 2}, "2")]


async def test_service_role_enqueues_for_any_tenant(conn: Connection) -> None:
    async with conn.transaction():
        await conn.execute("set local role service_role")
        await conn.execute("select tidemill.enqueue('mail', tenant => $1)", TENANT)
        await conn.execute("select tidemill.enqueue_many($1)", [{"kind": "mail", "tenant": TENANT}])
    assert await conn.fetchval("select count(*) from tidemill.job_ready where tenant = $1", TENANT) == 2


@pytest.mark.parametrize(
    "call", ["('mail')", "_many('[]')", "_named(null, null, null, null, null, null, null, null, null, null)"]
)
async def test_tenants_do_not_reach_the_engines_functions(conn: Connection, db: Database, call: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with tenant_session(db, {"sub": str(uuid4())}) as tenant:
            await tenant.execute(ENQUEUE + call)


async def test_a_user_enqueues_an_exposed_kind_for_the_tenant_of_the_token(db: Database) -> None:
    await declare_kinds(db, exposing(mail="company_id", bill="sub"))
    user = uuid4()
    async with tenant_session(db, {"sub": str(user), "company_id": str(TENANT)}) as tenant:
        mail = await tenant.fetchval("""select public.tidemill_enqueue('mail', '{"to": "me"}')""")
        bill = await tenant.fetchval("select public.tidemill_enqueue(kind => 'bill')")
    rows = await db.fetch("select id, tenant, args from tidemill.job_ready order by id")
    assert [tuple(row) for row in rows] == [(mail, TENANT, {"to": "me"}), (bill, user, {})]


@pytest.mark.parametrize(
    "claims",
    [{}, {"company_id": None}, {"company_id": "acme"}, {"user_metadata": {"company_id": str(TENANT)}}],
    ids=repr,
)
async def test_a_token_without_the_tenant_enqueues_nothing(db: Database, claims: dict[str, Any]) -> None:
    await declare_kinds(db, exposing(mail="company_id"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="no uuid in its claim company_id"):
        async with tenant_session(db, claims) as tenant:
            await tenant.execute("select public.tidemill_enqueue('mail')")
    assert await db.fetchval(JOBS) == 0


@pytest.mark.parametrize("kind", ["bill", "nobody", None])
async def test_a_kind_that_is_not_exposed_looks_as_if_there_were_none(db: Database, kind: str | None) -> None:
    await declare_kinds(db, exposing(mail="company_id"))
    with pytest.raises(asyncpg.PostgresError, match=r"kind: no job kind .* is exposed"):
        async with tenant_session(db, {"sub": str(uuid4()), "company_id": str(TENANT)}) as tenant:
            await tenant.execute("select public.tidemill_enqueue($1)", kind)


async def test_anon_enqueues_nothing(conn: Connection) -> None:
    for call in ("tidemill.enqueue('mail')", "public.tidemill_enqueue('mail')"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with conn.transaction():
                await conn.execute("set local role anon")
                await conn.execute(f"select {call}")
