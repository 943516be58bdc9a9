"""A database full of jobs, and how each of the engine's statements is asked there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tidemill.postgres import Connection

BIG = frozenset(
    {"job_ready", "job_delayed", "job_run", "job_dead", "unique_key", "batch", "schedule", "schedule_fire", "budget"}
)
"""Tables that may grow without bound; job_lease holds only what is running, the rest is small."""
LEASES = 2000
DUE = 1000
FEW = 20
"""Jobs that an operator names."""
TOGETHER = 500
TENANTS = 200

_FILL = """
insert into tidemill.queue (name) values ('default'), ('money'), ('quiet');
insert into tidemill.kind (name, queue, max_attempts, exposed)
  select k, 1, 20, false from unnest(array['mail', 'bill', 'close']) k;
insert into tidemill.node (name, pid, expires_at)
  select 'n', n, clock_timestamp() + case when n <= 15 then interval '1 day' else interval '-1 minute' end
  from generate_series(1, 20) n;
insert into tidemill.batch (id, state, total, finished, close_kind, close_queue, close_args, deadline, closed_at)
  select ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid,
    case when n <= 4 then 'sealed' when n = 5 then 'open' when n = 6 then 'closing' else 'closed' end, 1000000, 0, 3, 1,
    '{{}}',
    case when n = 1 then now() - interval '1 s' else now() + interval '1 hour' end, now()
  from generate_series(1, greatest({rows} / 20, 10)) n;
insert into tidemill.job_ready (id, queue, lane, rank, kind, max_attempts, tenant, batch, key, enqueued_at, args)
  select n, 1 + (n % 50 = 0)::int, tidemill.lane_of(t.tenant), n, 1 + n % 3, 20, t.tenant,
    case when n % ({rows} / 100) = 0 then '00000000-0000-0000-0000-000000000001'::uuid end,
    case when n % 2 = 0 then 'r' || n end, now(), '{{"n": 1}}'
  from generate_series(1, {rows}) n
  cross join lateral (
    select case when n % 2 = 0 then ('00000000-0000-0000-0001-' || lpad((n % {tenants})::text, 12, '0'))::uuid end
      as tenant) t;
insert into tidemill.job_delayed (id, queue, rank, kind, max_attempts, batch, key, enqueued_at, args, run_at)
  select {rows} + n, 1, n, 1 + n % 3, 20,
    case when n % ({rows} / 100) = 0 then '00000000-0000-0000-0000-000000000001'::uuid end,
    case when n % 2 = 0 then 'd' || n end, now(), '{{"n": 1}}',
    now() + case when n % ({rows} / {due}) = 0 then interval '-1 s' else interval '1 hour' * (1 + n % 1000) end
  from generate_series(1, {rows}) n;
insert into tidemill.job_lease
  (id, queue, rank, kind, attempt, max_attempts, batch, key, enqueued_at, args, token, node, claimed_at)
  select 2 * {rows} + n, 1, n, 1, 1, 20, case when n % 40 = 0 then '00000000-0000-0000-0000-000000000001'::uuid end,
    'l' || n, now(), '{{"n": 1}}', n, case when n <= 1500 then 1 else 16 end, now()
  from generate_series(1, {leases}) n;
insert into tidemill.unique_key (kind, key, job)
  select kind, key, id from tidemill.job_ready where key is not null
  union all select kind, key, id from tidemill.job_delayed where key is not null
  union all select kind, key, id from tidemill.job_lease where key is not null;
insert into tidemill.job_run (id, queue, kind, attempt, crashes, outcome, reason, node, started_at, finished_at)
  select 3 * {rows} + n / 2, 1, 1 + n % 3, 1, 0, case when n % 2 = 0 then 'retry' else 'done' end, 'no', 1, now(),
    -- Many in this week's partition, whatever day it is: of a few thousand rows the whole is rightly read.
    date_trunc('week', now()) + interval '84 hours' - interval '6 s' * (n % 100000)
  from generate_series(1, {rows}) n;
insert into tidemill.job_dead (id, queue, kind, priority, attempt, crashes, max_attempts, key, args, reason, died_at)
  select 4 * {rows} + n, 1, 1 + n % 3, 0, 20, 0, 20, 'x' || n, '{{}}', 'ValueError: no', now() - interval '1 s' * n
  from generate_series(1, {rows} / 4) n;
insert into tidemill.job_cancel (job, asked_by) select 2 * {rows} + n, 'ops' from generate_series(1, 100) n;
insert into tidemill.schedule (name, kind, spec, next_at)
  select 's' || n, 'mail', '{{}}', now() + case when n <= 400 then interval '-1 s' else interval '1 day' end
  from generate_series(1, {rows} / 4) n;
insert into tidemill.schedule_fire (name, fire_at)
  select 's' || n, now() - interval '1 hour' from generate_series(1, {rows} / 4) n;
insert into tidemill.budget (scope, blocked_until, reason, leased, slot, slot_s)
  select 'scope:' || n, case when n % 2 = 0 then now() end, case when n % 2 = 0 then 'x' end, '{{1}}', 1, 1
  from generate_series(1, {rows} / 4) n;
insert into tidemill.budget (scope, most, per_s, set_by) values ('scope:*', 100, 60, 'ops');
"""
_TABLES = (
    "job_ready",
    "job_delayed",
    "job_lease",
    "job_run_default",
    "job_dead",
    "unique_key",
    "batch",
    "schedule",
    "schedule_fire",
    "budget",
    "node",
    "job_cancel",
)


async def fill(conn: Connection, rows: int, *, fresh: bool) -> None:
    """So many ready, delayed and ended jobs; statistics taken when the tables were empty, or ``fresh``."""
    await freeze(conn)
    await crowd_in(conn, rows)
    if fresh:
        await conn.execute("analyze", timeout=600)


async def freeze(conn: Connection) -> None:
    """Take statistics, for the last time."""
    await conn.execute("".join(f"alter table tidemill.{t} set (autovacuum_enabled = off);" for t in _TABLES))
    await conn.execute("analyze")


async def crowd_in(conn: Connection, rows: int) -> None:
    """So many ready, delayed and ended jobs, behind the planner's back."""
    await conn.execute(_FILL.format(rows=rows, tenants=TENANTS, due=DUE, leases=LEASES), timeout=600)


@dataclass(frozen=True, slots=True)
class Asked:
    """How a statement is asked, and what it may cost.

    Attributes:
        args: its parameters.
        rows: how many rows it is about; buffers and rows looked at in vain are bounded by it.
        whole: big tables that it reads whole, and why that is borne.
    """

    args: Sequence[Any]
    rows: int
    whole: str | None = None
    either: bool = False
    """Whether any of its parameters may be null, so that only a plan made for them can use an index; or it calls a
    function that fills the catalog's caches when it first runs."""


NO_INDEX = "job_ready has no index by id (see its migration); an operator's act, and one pass over it"


async def questions(conn: Connection, rows: int) -> dict[str, Asked]:
    """Statement → how it is asked in a database of so many jobs."""
    leases = await conn.fetch(
        "select id, token, node, ctid::text as place from tidemill.job_lease where node = 1 and batch is null"
        " order by id limit $1",
        TOGETHER,
    )
    ids, tokens, nodes, places = ([row[name] for row in leases] for name in ("id", "token", "node", "place"))
    many = len(ids)
    outcomes = [("done", "retry", "snooze", "crashed", "dead")[n % 5] for n in range(many)]
    now: datetime = await conn.fetchval("select tidemill.now()")
    seen = [row["next_at"] for row in await conn.fetch("select next_at from tidemill.schedule where name = 's1'")]
    due = [f"s{n}" for n in range(1, 401)]
    late, open_, closing = (f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 5, 6))
    ready = [rows // 2 + n for n in range(FEW)]
    dead = [4 * rows + 1 + n for n in range(FEW)]
    nothing = [None] * many
    jobs = [{"kind": "mail", "key": f"j{n}"} for n in range(TOGETHER)]
    page = (None, None, None, None, None, None, 50)
    return {
        "batch_abandon": Asked(([closing], ["mail"], [True]), 1),
        "batch_advance": Asked((open_, {"after": 1}), 1),
        "batch_close": Asked((closing,), 1),
        "batch_force_close": Asked((late,), 1),
        "batch_open": Asked((None, 3, 1, "{}", now, None, None), 1),
        "batch_open_json": Asked(("mail", "{}", now.isoformat(), None), 1),
        "batch_seal_json": Asked((open_,), 1),
        "batch_overdue": Asked((), 1),
        "batch_seal": Asked((open_,), 1),
        "batch_seize": Asked((late, 1, TOGETHER), 250),
        "batch_unclosed": Asked(([late, open_],), 2),
        "budget_block": Asked(("scope:1", timedelta(seconds=1), "x", ["scope:1", "scope:*"]), 2),
        "budget_declare": Asked((["scope:1", "scope:*"], [1, 1], [60.0, 60.0]), 2),
        "budget_drop": Asked(("scope:*",), 1),
        "budget_lease": Asked(("scope:1", ["scope:*"], 1, 5), 2, either=True),
        "budget_look": Asked((["scope:1", "scope:2", "scope:*"],), 3),
        "budget_resume": Asked(("scope:2",), 1),
        "budget_set": Asked(("scope:1", 5, 60.0, "ops"), 1),
        "budget_slow": Asked(("scope:1", 0.5, timedelta(seconds=60)), 1),
        "cancel_ask": Asked((ids, None, None, None, None, None, "ops"), many),
        "cancel_asked": Asked((1,), 100),
        "cancel_batch": Asked((late, "ops"), 250),
        "cancel_ended": Asked(([3 * rows + n for n in range(FEW)],), 2 * FEW),
        "cancel_forget": Asked((ids,), many, NO_INDEX),
        "cancel_seize": Asked((ready, None, None, None, None, None, TOGETHER), FEW, NO_INDEX, either=True),
        "cancel_unheld": Asked((TOGETHER,), TOGETHER),
        "claim": Asked((1, 1, TOGETHER, 64, -1, 0, False), TOGETHER),
        "claim_few": Asked((1, 1, FEW, False), FEW),
        "claim_limited": Asked((1, 1, TOGETHER), TOGETHER),
        "claimed": Asked((1, 1, ids), LEASES),
        "dead_discard": Asked((dead, None, None, None, None, None, 0, TOGETHER), FEW, either=True),
        "dead_retry": Asked((dead, None, None, None, None, None, 0, TOGETHER), FEW, either=True),
        "enqueue": Asked(
            (
                [1] * many,
                [1] * many,
                [0] * many,
                [20] * many,
                nothing,
                nothing,
                [f"e{n}" for n in range(many)],
                ["{}"] * many,
                nothing,
                nothing,
                None,
            ),
            many,
        ),
        "enqueue_json": Asked((json.dumps(jobs),), TOGETHER),
        "enqueue_one": Asked((1, 1, 0, 20, None, "{}", None), 1),
        "enqueue_plain": Asked(
            ([1] * many, [1] * many, [0] * many, [20] * many, nothing, ["{}"] * many, nothing), many
        ),
        "fence": Asked((ids[0], tokens[0], 1), 1),
        "fence_held": Asked((ids, tokens, nodes), many),
        "finish": Asked(
            (ids, tokens, nodes, outcomes, nothing, nothing, [1] * many, nothing, places, [late, open_]), many
        ),
        "finish_done": Asked((1, ids, tokens, places), many),
        "finish_written": Asked((ids, [1] * many, [0] * many, nodes, outcomes), many),
        "hold_limits": Asked(([-1],), 1),
        "intern": Asked((["mail"], ["default"]), 2),
        "kind_pause": Asked(("mail", "ops"), 1),
        "kind_resume": Asked(("mail",), 1),
        "leases_gone": Asked((ids, tokens, 1), many),
        "lock_acquire": Asked(("x", "me", timedelta(seconds=9), None), 1),
        "lock_release": Asked(("x", "me"), 1),
        "look_attempts": Asked((3 * rows + 5, 20), 2),
        "look_dead": Asked(page, 50, either=True),
        "look_delayed": Asked(page, 50, either=True),
        "look_ended": Asked(page, 50, either=True),
        "look_names": Asked(("mail", "default"), 2),
        "look_ready": Asked(page, 50, either=True),
        "look_running": Asked(page, LEASES),
        "look_where": Asked((ready,), FEW, NO_INDEX),
        "names": Asked((1,), 1),
        "node_leave": Asked((15,), 1),
        "node_register": Asked(("n", 1, 15, "0", []), 1),
        "open_lanes": Asked(([-1],), 1),
        "orphans": Asked((TOGETHER,), LEASES),
        "places": Asked((ids,), many),
        "progress_write": Asked((ids, tokens, nodes, [1] * many, nothing, nothing, ids, tokens), many),
        "queue_pause": Asked(("default", "ops"), 1),
        "queue_resume": Asked(("default",), 1),
        "queue_scale": Asked(("default", 5), 1),
        "schedule_declare": Asked(("s1", "mail", {"a": 1}, {}, now), 1),
        "schedule_due": Asked((["mail"], TOGETHER, 0), 400),
        "schedule_fail": Asked((due, seen * 400, ["x"] * 400), 400),
        "schedule_fire": Asked((due, [now + timedelta(days=1)] * 400, list(range(400))), 400),
        "schedule_fired": Asked((due, seen * 400), 400),
        "schedule_move": Asked((due, seen * 400, [now + timedelta(days=1)] * 400, seen * 400), 400),
        "schedule_next": Asked((["mail"],), 1),
        "schedule_of": Asked(("s1",), 1),
        "schedule_pause": Asked(("s1", "ops"), 1),
        "schedule_resume": Asked(("s1",), 1),
        "upkeep": Asked((1, 15, TOGETHER // 10), TOGETHER // 10),
    }


EXEMPT = {
    "budget_list": "for people; lists them all",
    "forget_lanes": "once an hour; as housekeeping",
    "history_detach": "once an hour; reads the catalog alone",
    "history_drop": "once an hour; reads the catalog alone",
    "limit_drop": "an operator; limits are few, and what runs is counted anew",
    "limit_list": "for people; limits are few",
    "limit_name": "an operator; names are few",
    "limit_of_kinds": "once a start of a process; limits are few",
    "limit_set": "an operator; limits are few, and what runs is counted anew",
    "overview_clock": "one row",
    "overview_locks": "for people; bounded, see test_status",
    "overview_nodes": "for people; bounded, see test_status",
    "overview_partitions": "reads the catalog alone",
    "overview_queues": "for people; bounded, see test_status",
    "overview_runs": "for people; bounded, see test_status",
    "overview_schedules": "for people; bounded, see test_status",
    "overview_scopes": "for people; bounded, see test_status",
    "weight_list": "for people; weights are few",
    "weight_set": "an operator; weights are few",
    "housekeeping": "once an hour; reads whole what it prunes",
    "kind_declare": "once a start of a process; as many kinds as the code has",
    "kind_paused": "for people; kinds are few",
    "orphans_cut": "reads the server's own lists of sessions and locks",
    "partitions": "reads the catalog alone",
    "queue_list": "for people; says that it counts whole tables",
    "queue_names": "for people, in an error; names are few",
    "schedule_list": "for people; lists them all",
}
"""Statements that are not guarded: why."""


def literal(value: Any) -> str:
    """A parameter as EXECUTE takes it."""
    if value is None:
        return "null"
    text = json.dumps(value) if isinstance(value, dict) else _element(value)
    return "'" + text.replace("'", "''") + "'"


def _element(value: Any) -> str:
    if isinstance(value, list):
        return "{" + ",".join("NULL" if v is None else json.dumps(_element(v)) for v in value) + "}"
    return value.isoformat() if isinstance(value, datetime) else str(value)
