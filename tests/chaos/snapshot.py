"""What a synced database says, without what may differ between two syncs of the same: made-up ids and capture times."""

from __future__ import annotations

from typing import Any

from tidemill.postgres import Database

Snapshot = dict[str, list[Any]]

_ACCOUNT = "jsonb_build_object('account', a.threads_user_id)"
_POST = "jsonb_build_object('post', p.threads_post_id)"
_OF_POST = "join public.workspace_threads_posts p on p.id = t.workspace_threads_post_id"
_OF_ACCOUNT = "join public.workspace_threads_accounts a on a.id = t.workspace_threads_account_id"

# Every column counts unless it is named here, so that a new one is compared from its first day.
_TABLES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "workspace_threads_accounts t": (
        "jsonb_build_object('account', t.threads_user_id, 'told', t.reauth_told_at is not null)",
        "",
        ("last_insights_sync_at", "token_status_at", "token_expires_at", "reauth_told_at"),
    ),
    "workspace_threads_posts t": (
        f"{_ACCOUNT} || jsonb_build_object('gone', t.gone_at is not null)",
        _OF_ACCOUNT,
        ("first_synced_at", "last_metrics_sync_at", "gone_at"),
    ),
    "workspace_threads_post_metrics t": (_POST, _OF_POST, ("captured_at",)),
    "workspace_threads_post_metrics_deltas t": (_POST, _OF_POST, ()),
    "workspace_threads_account_insights t": (_ACCOUNT, _OF_ACCOUNT, ("captured_at",)),
    "workspace_threads_account_insights_deltas t": (_ACCOUNT, _OF_ACCOUNT, ()),
    "workspace_threads_account_views_days t": (_ACCOUNT, _OF_ACCOUNT, ("first_seen_at",)),
    # How often something was tried, and how long it took, is told honestly and so differs.
    "sync_logs t": (
        f"{_ACCOUNT} || jsonb_build_object('metadata',"
        " t.metadata - array['duration_ms', 'retry_count', 'api_calls', 'api_response'])",
        _OF_ACCOUNT,
        ("started_at", "completed_at", "attempt", "run_id"),
    ),
    "system_job_logs t": (
        "jsonb_build_object('metadata', t.metadata - 'results', 'results',"
        " (select jsonb_agg(r - 'account_id') from jsonb_array_elements(t.metadata -> 'results') r))",
        "",
        ("started_at", "completed_at", "batch_id", "request_key"),
    ),
    "tidemill.batch t": (
        "'{}'",
        "",
        ("opened_at", "closed_at", "cursor", "close_args"),
    ),
}
_GENERATED = (
    "id",
    "workspace_id",
    "workspace_threads_account_id",
    "workspace_threads_post_id",
    "created_at",
    "updated_at",
)


async def snapshot(db: Database) -> Snapshot:
    """The comparable state, table by table."""
    state: Snapshot = {}
    for table, (added, joined, left_out) in _TABLES.items():
        rows = await db.fetch(
            f"select (to_jsonb(t) - $1::text[]) || {added} as row from {table} {joined}", [*_GENERATED, *left_out]
        )
        state[table.split()[0]] = sorted((row["row"] for row in rows), key=repr)
    return state


def differences(state: Snapshot, reference: Snapshot) -> list[str]:
    """What differs, said so that a reader can find it; empty when nothing does."""
    found: list[str] = []
    for table, expected in reference.items():
        missing = [row for row in expected if row not in state[table]]
        surplus = [row for row in state[table] if row not in expected]
        if len(state[table]) != len(expected):
            found.append(f"{table}: {len(state[table])} rows instead of {len(expected)}")
        found += [f"{table}: without {row}" for row in missing[:5]] + [f"{table}: with {row}" for row in surplus[:5]]
    return found


_LEFT_OVER = {
    "jobs waiting": "select count(*) from tidemill.job_ready",
    "jobs delayed": "select count(*) from tidemill.job_delayed",
    "jobs leased": "select count(*) from tidemill.job_lease",
    "unique keys": "select count(*) from tidemill.unique_key",
    "jobs dead": "select count(*) from tidemill.job_dead",
    "log rows open": "select count(*) from sync_logs where status in ('pending', 'running')",
    "run rows open": "select count(*) from system_job_logs where status in ('pending', 'running')",
    "batches open": "select count(*) from tidemill.batch where state <> 'closed'",
    "locks held": "select count(*) from system_job_locks where locked_until > clock_timestamp()",
    "posts with two snapshots in a slot": "select count(*) from (select from workspace_threads_post_metrics"
    " group by workspace_threads_post_id, sync_batch_at having count(*) > 1) twice",
    "runs whose counts do not add up": "select count(*) from system_job_logs where status <> 'skipped' and"
    " (metadata ->> 'total_accounts')::int is distinct from (metadata ->> 'success_count')::int"
    " + (metadata ->> 'error_count')::int + (metadata ->> 'skipped_count')::int",
}


async def left_over(db: Database) -> dict[str, int]:
    """What no finished run may leave behind; empty when all is well."""
    counts = {what: await db.fetchval(sql) for what, sql in _LEFT_OVER.items()}
    return {what: n for what, n in counts.items() if n}
