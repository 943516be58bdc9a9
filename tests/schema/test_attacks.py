"""Everybody tries everything: what is not listed as open, here or in rights.py, is refused or finds nothing."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from tests.conftest import administer, drop_database, make_database, run_apart, with_database
from tests.schema import rights
from tests.schema.attacks import World, make_world, tries
from tests.schema.companies import ADMIN
from tests.schema.conftest import Owner, acting, user
from tidemill.postgres import Connection, connect

REFUSED = "42501"
NOT_UPDATABLE = {"55000", "0A000"}
"""What Postgres says of a write to a view that joins, before it looks at rights."""
NO_COPY_UNDER_RLS = "0A000"
BROKEN_KEY = "23503"

TENANTS = ("member", "admin", "other admin")
SERVERS = ("service_role", "server without BYPASSRLS")
PERSONS = ("anon", *TENANTS, *SERVERS)
LED_BY = {"companies": "id", "profiles": "id", "workspaces": "id"}
"""The column that says whose a row is, where that is neither the company nor the workspace."""

ALWAYS_REFUSED = (
    "truncate {t}",
    "alter table {t} disable row level security",
    "alter table {t} no force row level security",
    "create policy mine on {t} using (true)",
    "create trigger mine before update on {t} for each row execute function suppress_redundant_updates_trigger()",
    "create index on {t} ({c})",
    "comment on table {t} is 'mine'",
    "drop table {t}",
)


@dataclass(frozen=True)
class Table:
    """A table or view, and what can be named of it."""

    name: str
    kind: str
    columns: list[str]

    @property
    def leader(self) -> str:
        """The column that says whose a row is."""
        return LED_BY.get(self.name, "company_id" if "company_id" in self.columns else "workspace_id")

    @property
    def refusals(self) -> set[str]:
        """How a write to it may be refused."""
        return {REFUSED} | NOT_UPDATABLE if self.kind == "v" else {REFUSED}


@pytest.fixture(scope="module")
def server_role(server_url: str) -> Iterator[str]:
    """A role that has service_role's rights but not its BYPASSRLS, as on a host that does not give that."""
    role = f"tm_server_{os.getpid()}_{secrets.token_hex(3)}"
    run_apart(administer(server_url, f"create role {role} nologin nobypassrls in role service_role"))
    yield role
    run_apart(administer(server_url, f"drop role {role}"))


@pytest.fixture(scope="module")
def stage(owner: Owner, server_url: str, server_role: str) -> Iterator[tuple[str, World]]:
    """A database with both tenants in it, for all tests of this module: none leaves anything."""
    name = f"tm_attacked_{os.getpid()}_{secrets.token_hex(3)}"
    run_apart(administer(server_url, f"grant {server_role} to {owner.role}"))
    make_database(server_url, name, template=owner.template, owner=owner.role)
    url = with_database(owner.url, name)

    async def fill() -> World:
        conn = await connect(url, name="tidemill tests")
        try:
            world = await make_world(conn, server_role)
            await conn.execute("analyze")
            return world
        finally:
            conn.terminate()

    yield url, run_apart(fill())
    drop_database(server_url, name)


@pytest.fixture
def world(stage: tuple[str, World]) -> World:
    return stage[1]


@pytest.fixture
async def conn(stage: tuple[str, World]) -> AsyncIterator[Connection]:
    connection = await connect(stage[0], name="tidemill tests")
    yield connection
    connection.terminate()


async def all_tables(conn: Connection) -> list[Table]:
    return [Table(row["name"], row["kind"], row["columns"]) for row in await conn.fetch(rights.TABLES)]


def readable(table: Table, person: str) -> bool:
    """Whether the person may read every column of it."""
    if person in SERVERS:
        return not table.name.startswith("tidemill.") or table.name in rights.SERVER_READS_ONLY
    return person in TENANTS and table.name in rights.READ


def writable(table: Table, person: str) -> bool:
    """Whether it is a server's to write."""
    return person in SERVERS and readable(table, person) and table.name not in rights.SERVER_READS_ONLY


async def test_the_world_has_rows_of_both_tenants_wherever_a_tenant_reads(conn: Connection, world: World) -> None:
    """Else what is not seen below would prove nothing."""
    for table in await all_tables(conn):
        if table.name in rights.READ or table.name in rights.READ_PARTS:
            seen = {row[0] for row in await conn.fetch(f"select {table.leader} from public.{table.name}")}
            for tenant in ("member", "other admin"):
                assert seen & world.ids(tenant), table.name


@pytest.mark.parametrize("person", PERSONS)
async def test_whoever_reads_a_table_sees_only_what_is_his(conn: Connection, world: World, person: str) -> None:
    tables = await all_tables(conn)
    async with world.acting(conn, person):
        answers = await tries(conn, (f"select * from {table.name}" for table in tables))
        for table, (_, answer) in zip(tables, answers, strict=True):
            assert (answer == REFUSED) is not readable(table, person), (table.name, answer)
            if person in TENANTS and (readable(table, person) or table.name in rights.READ_PARTS):
                seen = {row[0] for row in await conn.fetch(f"select {table.leader} from public.{table.name}")}
                assert seen <= world.ids(person), table.name
                assert seen or (table.name, person) == ("connector_credentials", "member"), table.name


@pytest.mark.parametrize("person", TENANTS)
async def test_a_column_that_is_not_listed_cannot_be_read_in_any_way(
    conn: Connection, world: World, person: str
) -> None:
    """Neither named, nor by the row as a whole, nor by a condition, an order or a count of it."""
    for table in await all_tables(conn):
        if table.name not in rights.READ_PARTS:
            continue
        closed = set(table.columns) - rights.READ_PARTS[table.name]
        assert closed
        attempts = [
            form.format(t=table.name, c=column)
            for column in closed
            for form in (
                "select {c} from {t}",
                "select count({c}) from {t}",
                "select from {t} where {c} is null",
                "select from {t} order by {c}",
            )
        ]
        attempts += [f"select t from {table.name} as t", f"select to_jsonb(t) from {table.name} as t"]
        async with world.acting(conn, person):
            assert {answer for _, answer in await tries(conn, attempts)} == {REFUSED}


@pytest.mark.parametrize("person", PERSONS)
async def test_every_write_that_is_not_listed_is_refused(conn: Connection, world: World, person: str) -> None:
    tables = await all_tables(conn)
    attempts: list[tuple[str, set[str]]] = []
    for table in tables:
        mayset: dict[str, set[str]] = {"insert": set(), "update": set()}
        if person in TENANTS:
            mayset = {"insert": rights.INSERT.get(table.name, set()), "update": rights.UPDATE.get(table.name, set())}
        may_delete = writable(table, person) or (person in TENANTS and table.name in rights.DELETE)
        if not writable(table, person):
            for column in table.columns:
                if column not in mayset["insert"]:
                    attempts.append((f'insert into {table.name} ("{column}") values (default)', table.refusals))
                if column not in mayset["update"]:
                    attempts.append((f'update {table.name} set "{column}" = default where false', table.refusals))
        if not may_delete:
            attempts.append((f"delete from {table.name} where false", table.refusals))
            attempts.append((f"lock table {table.name} in access exclusive mode", {REFUSED}))
        if table.kind != "v":
            attempts += [(form.format(t=table.name, c=table.columns[0]), {REFUSED}) for form in ALWAYS_REFUSED]
    if person not in SERVERS:
        assert len(attempts) > 1000
    async with world.acting(conn, person):
        answers = await tries(conn, (statement for statement, _ in attempts))
    wrong = [said for said, (_, allowed) in zip(answers, attempts, strict=True) if said[1] not in allowed]
    assert wrong == []


@pytest.mark.parametrize("person", PERSONS)
async def test_copy_gives_and_takes_no_more_than_a_query(conn: Connection, world: World, person: str) -> None:
    for table in await all_tables(conn):
        schema, _, name = table.name.rpartition(".")
        where: dict[str, Any] = {"schema_name": schema or "public"}
        async with world.acting(conn, person):
            out = await _copied(conn.copy_from_query(f'select "{table.columns[0]}" from {table.name}', output=_ignore))
            parts = person in TENANTS and table.name in rights.READ_PARTS
            assert (out == REFUSED) is not (readable(table, person) or parts), (table.name, out)
        if table.kind == "v":
            continue
        async with world.acting(conn, person):
            columns = sorted(rights.INSERT.get(table.name, ())) if person in TENANTS else None
            into = await _copied(conn.copy_to_table(name, source=_nothing(), columns=columns or None, **where))
        if writable(table, person):
            assert into == ("COPY 0" if person == "service_role" else NO_COPY_UNDER_RLS), table.name
        else:
            assert into == (NO_COPY_UNDER_RLS if columns else REFUSED), table.name


async def _copied(copying: Any) -> str:
    try:
        return await copying
    except asyncpg.PostgresError as e:
        return str(e.sqlstate)


async def _ignore(data: bytes) -> None: ...


async def _nothing() -> AsyncIterator[bytes]:
    for data in ():
        yield data


@pytest.mark.parametrize("person", PERSONS)
async def test_every_function_that_is_not_listed_is_refused(conn: Connection, world: World, person: str) -> None:
    listed = rights.CALL if person in TENANTS else rights.SERVER_CALLS if person in SERVERS else set[str]()
    # Arguments from a subquery: a strict function of constants would be computed before anybody asks for rights.
    rows = await conn.fetch("""
        select oid::regprocedure::text as name, format('select %s(%s) from (select %s offset 0) as a', oid::regproc,
            string_agg(case when ord = pronargs and provariadic <> 0 then 'variadic ' else '' end || 'a' || ord, ', '
                order by ord) filter (where type is not null),
            coalesce(string_agg('null::' || format_type(type, null) || ' as a' || ord, ', ' order by ord)
                filter (where type is not null), '')) as call
        from pg_proc left join lateral unnest(proargtypes) with ordinality as a (type, ord) on true
        where pronamespace::regnamespace::text in ('public', 'tidemill') and prokind = 'f'
        group by pg_proc.oid, pronargs, provariadic
    """)
    closed = [row["call"] for row in rows if row["name"] not in listed]
    assert len(closed) > 40
    async with world.acting(conn, person):
        assert [said for said in await tries(conn, closed) if said[1] != REFUSED] == []


# What an admin may do, and what everybody else gets who tries the same: rows met, or the refusal.
# {m}: the company of member and admin; {o}: the other one.
ROWS = [
    # statement, member, admin, other admin
    ("update sync_jobs set priority = 5", "0", "1", "1"),
    ("update sync_jobs set priority = 5 where id = '{m.job}'", "0", "1", "0"),
    ("update sync_jobs set priority = 5 where id = '{o.job}'", "0", "0", "1"),
    ("update sync_jobs set priority = 5 where company_id = '{m.id}'", "0", "1", "0"),
    ("update sync_jobs set connector_id = '{o.connector}' where id = '{m.job}'", "0", BROKEN_KEY, "0"),
    ("update sync_jobs set company_id = company_id", REFUSED, REFUSED, REFUSED),
    ("update sync_jobs set status = 'idle'", REFUSED, REFUSED, REFUSED),
    ("update sync_jobs as a set priority = b.priority from sync_jobs as b where b.id = '{m.job}'", "0", "1", "0"),
    ("select from sync_jobs where id = '{m.job}' for update", "0", "1", "0"),
    ("delete from sync_jobs where id = '{m.job}'", "0", "1", "0"),
    ("delete from sync_jobs", "0", "1", "1"),
    (
        "insert into sync_jobs (company_id, connector_id, job_type) values ('{m.id}', '{m.connector}', 'sync')",
        REFUSED,
        "1",
        REFUSED,
    ),
    (
        "insert into sync_jobs (company_id, connector_id, job_type) values ('{m.id}', '{o.connector}', 'sync')",
        REFUSED,
        BROKEN_KEY,
        REFUSED,
    ),
    (
        "insert into sync_jobs (connector_id, job_type) values ('{m.connector}', 'sync')",
        REFUSED,
        REFUSED,
        REFUSED,
    ),
    (
        "insert into sync_jobs (id, company_id, connector_id, job_type) "
        "values ('{o.job}', '{m.id}', '{m.connector}', 'sync') on conflict (id) do update set priority = 9",
        REFUSED,
        REFUSED,
        REFUSED,
    ),
    (
        "merge into sync_jobs as j using (values ('{o.job}'::uuid), ('{m.job}')) as v (id) on j.id = v.id "
        "when matched then update set priority = 9",
        REFUSED,
        "1",
        "1",
    ),
    ("update integration_connectors set name = 'changed' where id = '{m.connector}'", "0", "1", "0"),
    ("update integration_connectors set company_id = '{o.id}'", REFUSED, REFUSED, REFUSED),
    ("update integration_connectors set last_synced_at = now()", REFUSED, REFUSED, REFUSED),
    ("delete from integration_connectors where id = '{m.connector}'", "0", BROKEN_KEY, "0"),
    (
        "insert into integration_connectors (company_id, provider) values ('{m.id}', 'http')",
        REFUSED,
        "1",
        REFUSED,
    ),
    ("update sync_notifications set read_at = now()", "0", "1", "1"),
    ("update sync_notifications set message = 'never mind'", REFUSED, REFUSED, REFUSED),
    ("delete from sync_notifications", REFUSED, REFUSED, REFUSED),
    ("update sync_run_logs set status = 'completed'", REFUSED, REFUSED, REFUSED),
    ("delete from sync_run_logs", REFUSED, REFUSED, REFUSED),
    ("update synced_records set data = '{{}}'", REFUSED, REFUSED, REFUSED),
    ("select id, checksum from connector_credentials where company_id = '{m.id}'", "0", "1", "0"),
    ("select secret_ciphertext from connector_credentials", REFUSED, REFUSED, REFUSED),
    ("update connector_credentials set version = 9", REFUSED, REFUSED, REFUSED),
    ("select cursor from connector_state", REFUSED, REFUSED, REFUSED),
    ("select stream from connector_state where company_id = '{m.id}'", "1", "1", "0"),
    ("select from sync_job_control('{m.job}', 'run')", REFUSED, "1", "TM004"),
    ("select from sync_job_control('{m.job}', 'pause')", REFUSED, "1", "TM004"),
    ("select from sync_job_control('{m.job}', 'cancel')", REFUSED, "1", "TM004"),
    ("select from sync_job_control('{m.job}', 'resume')", REFUSED, "1", "TM004"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:70])
async def test_the_rows_that_a_statement_meets(conn: Connection, world: World, row: tuple[str, str, str, str]) -> None:
    statement, *expected = row
    asked = statement.format(m=world.mine, o=world.theirs)
    answers: list[str] = []
    for person in TENANTS:
        async with world.acting(conn, person):
            answers += [answer for _, answer in await tries(conn, [asked])]
    assert answers == expected
    async with world.acting(conn, "anon"):
        assert await tries(conn, [asked]) == [(asked, REFUSED)]


@pytest.mark.parametrize("person", SERVERS)
async def test_a_server_reaches_both_companies_whether_it_bypasses_row_security_or_not(
    conn: Connection, world: World, person: str
) -> None:
    async with world.acting(conn, person):
        said = await tries(
            conn,
            [
                "update sync_jobs set priority = 5",
                "update integration_connectors set status = 'inactive'",
                "update sync_run_logs set reason = 'none'",
                f"select from sync_job_control('{world.mine.job}', 'run')",
                f"select from sync_job_control('{world.theirs.job}', 'pause')",
                "delete from companies where code in ('mine', 'theirs')",
            ],
        )
    assert [answer for _, answer in said] == ["2", "2", "2", "1", "1", "2"]


@pytest.mark.parametrize("person", TENANTS)
async def test_no_side_channel_tells_of_other_tenants(conn: Connection, world: World, person: str) -> None:
    """Statistics of columns, and functions of one's own that a filter calls before the policy would."""
    async with world.acting(conn, person):
        assert await conn.fetch("select from pg_stats where schemaname in ('public', 'tidemill')") == []
        await conn.execute("""
            create function pg_temp.leak(t text) returns boolean language plpgsql cost 0.0000001 as $$
            begin
                perform set_config('attack.heard', concat(current_setting('attack.heard', true), ' ', t), true);
                return true;
            end $$
        """)
        for table in ("companies", "sync_jobs", "sync_run_logs", "synced_records", "connector_state"):
            leader = "id" if table == "companies" else "company_id"
            await conn.execute(f"select from public.{table} where pg_temp.leak({leader}::text)")
        heard = set((await conn.fetchval("select current_setting('attack.heard', true)")).split())
    own = world.theirs.id if person == "other admin" else world.mine.id
    assert heard == {str(own)}


NOBODY = UUID("00000000-0000-4000-8000-00000000ffff")
"""Stands in a forged claim for the id of the company under attack."""

NO_COMPANY: list[object] = [
    None,
    "",
    "null",
    "[]",
    '"text"',
    "7",
    {},
    {"company_id": None},
    {"company_id": ""},
    {"company_id": "acme"},
    {"company_id": 7},
    {"company_id": True},
    {"company_id": [str(NOBODY)]},
    {"company_id": {"id": str(NOBODY)}},
    {"company_id": f" {NOBODY}"},
    {"company_id": f"{{{NOBODY}}}"},
    {"company_id": str(NOBODY).replace("-", "")},
    {"company_id": f"{NOBODY}' or true --"},
    {"COMPANY_ID": str(NOBODY)},
    {"app_metadata": {"company_id": str(NOBODY)}},
    {"user_metadata": {"company_id": str(NOBODY)}},
    {"claims": {"company_id": str(NOBODY)}},
    {"role": "service_role"},
    {"role": "postgres", "is_admin": True},
    {"role": ["service_role"]},
    [{"company_id": str(NOBODY)}],
]
COMPANY_TABLES = sorted(
    {"companies", "integration_connectors", "sync_jobs", "sync_run_logs", "synced_records", "sync_notifications"}
)


def forged(claims: object, company: UUID, **more: object) -> str:
    """The claims as text, the stand-in replaced, and whatever else if they are an object."""
    if isinstance(claims, dict):
        claims = {**more, **claims}
    text = claims if isinstance(claims, str) else msgspec.json.encode(claims).decode()
    return text.replace(str(NOBODY), str(company)).replace(NOBODY.hex, company.hex)


@pytest.mark.parametrize("claims", NO_COMPANY, ids=repr)
async def test_claims_that_name_no_company_at_the_top_see_and_change_nothing(
    conn: Connection, world: World, claims: object
) -> None:
    text = "" if claims is None else forged(claims, world.mine.id, app_metadata={"role_keys": [ADMIN]})
    statements = [f"select from {table}" for table in COMPANY_TABLES]
    statements += ["select company_id from connector_credentials", "select company_id from connector_state"]
    statements += ["update sync_jobs set priority = 9", "delete from sync_jobs", "delete from integration_connectors"]
    async with acting(conn, "authenticated", text):
        assert {answer for _, answer in await tries(conn, statements)} == {"0"}
        # By the role or as one that is not there, as the roles in the claims may be.
        asked = f"select from sync_job_control('{world.mine.job}', 'pause')"
        assert (await tries(conn, [asked]))[0][1] in {REFUSED, "TM004"}
        asked = f"insert into integration_connectors (company_id, provider) values ('{world.mine.id}', 'http')"
        assert (await tries(conn, [asked]))[0][1] == REFUSED


NO_ADMIN: list[dict[str, object]] = [
    {},
    {"app_metadata": None},
    {"app_metadata": {}},
    {"app_metadata": []},
    {"app_metadata": f'{{"role_keys": ["{ADMIN}"]}}'},
    {"app_metadata": [{"role_keys": [ADMIN]}]},
    {"app_metadata": {"role_keys": None}},
    {"app_metadata": {"role_keys": ADMIN}},
    {"app_metadata": {"role_keys": {ADMIN: True}}},
    {"app_metadata": {"role_keys": [[ADMIN]]}},
    {"app_metadata": {"role_keys": [{ADMIN: True}]}},
    {"app_metadata": {"role_keys": [1, 2, None, True]}},
    {"app_metadata": {"role_keys": 1}},
    {"app_metadata": {"role_keys": True}},
    {"app_metadata": {"role_keys": [f"{ADMIN} ", ADMIN.lower(), f"{ADMIN}s", f'"{ADMIN}"']}},
    {"app_metadata": {"roles": [ADMIN]}},
    {"app_metadata": {"app_metadata": {"role_keys": [ADMIN]}}},
    {"user_metadata": {"role_keys": [ADMIN]}},
    {"role_keys": [ADMIN]},
    {"role": "service_role"},
    {"role": ADMIN},
]


@pytest.mark.parametrize("claims", NO_ADMIN, ids=repr)
async def test_roles_that_are_no_list_of_strings_in_app_metadata_make_a_member_and_no_more(
    conn: Connection, world: World, claims: dict[str, object]
) -> None:
    mine = world.mine
    async with acting(conn, "authenticated", user(mine.user, **{"company_id": str(mine.id), **claims})):
        for table in COMPANY_TABLES:
            leader = LED_BY.get(table, "company_id")
            assert {row[0] for row in await conn.fetch(f"select {leader} from public.{table}")} == {mine.id}
        said = await tries(
            conn,
            [
                "update sync_jobs set priority = 9",
                "delete from sync_jobs",
                "update sync_notifications set read_at = now()",
                "select company_id from connector_credentials",
                f"insert into integration_connectors (company_id, provider) values ('{mine.id}', 'http')",
                f"select from sync_job_control('{mine.job}', 'run')",
            ],
        )
    assert [answer for _, answer in said] == ["0", "0", "0", "0", REFUSED, REFUSED]


@pytest.mark.parametrize("role", [None, "", "anon", "service_role", 7, ["authenticated"], {"a": 1}], ids=repr)
async def test_the_role_in_the_claims_gives_and_takes_nothing(conn: Connection, world: World, role: object) -> None:
    """The role of the session counts, which whoever verified the token has set."""
    async with acting(conn, "authenticated", {**world.mine.admin, "role": role}):
        assert {row[0] for row in await conn.fetch("select company_id from public.sync_jobs")} == {world.mine.id}
        said = await tries(conn, ["update sync_jobs set priority = 9", "select * from connector_credentials"])
    assert [answer for _, answer in said] == ["1", REFUSED]


async def test_claims_that_are_not_json_are_an_error_and_show_nothing(conn: Connection, world: World) -> None:
    async with acting(conn, "authenticated", "{not json"):
        said = await tries(conn, [f"select from {table}" for table in COMPANY_TABLES])
    assert {answer for _, answer in said} == {"22P02"}


async def test_claims_in_settings_of_the_old_form_are_not_looked_at(conn: Connection, world: World) -> None:
    async with acting(conn, "authenticated", user(uuid4())):
        for name in ("company_id", "role", "app_metadata"):
            await conn.execute("select set_config($1, $2, true)", f"request.jwt.claim.{name}", str(world.mine.id))
        said = await tries(conn, [f"select from {table}" for table in COMPANY_TABLES])
    assert {answer for _, answer in said} == {"0"}


@pytest.mark.parametrize("plans", ["auto", "force_generic_plan", "force_custom_plan"])
async def test_a_plan_that_one_tenant_prepared_serves_the_next_only_his_own(
    conn: Connection, world: World, plans: str
) -> None:
    await conn.execute(f"set plan_cache_mode = {plans}")
    queries = [f"select {LED_BY.get(table, 'company_id')} from public.{table}" for table in COMPANY_TABLES]
    async with world.acting(conn, "admin"):
        prepared = [await conn.prepare(query) for query in queries]
        change = await conn.prepare("update public.sync_jobs set priority = $1 where id = $2 returning company_id")
    mine, theirs = world.mine.id, world.theirs.id
    sees = {"member": {mine}, "other admin": {theirs}, "service_role": {mine, theirs}, "admin": {mine}}
    changes = {("admin", mine), ("other admin", theirs), ("service_role", mine), ("service_role", theirs)}
    for _ in range(7):  # after five uses Postgres considers a plan for all parameters
        for person, seen in sees.items():
            async with world.acting(conn, person):
                for statement in prepared:
                    assert {row[0] for row in await statement.fetch()} == seen, (person, statement.get_query())
                for company in (world.mine, world.theirs):
                    met = {row[0] for row in await change.fetch(7, company.job)}
                    assert met == ({company.id} if (person, company.id) in changes else set()), person
        async with acting(conn, "authenticated", ""):
            for statement in prepared:
                assert await statement.fetch() == []
        for statement in prepared:
            async with world.acting(conn, "anon"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await statement.fetch()
