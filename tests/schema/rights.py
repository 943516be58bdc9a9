"""Every cell of the tables that is open to somebody, by role and verb. What is not listed here is closed.

A cell says what a role may name. Which rows it then meets is row security's: tests/schema/attack.
"""

from __future__ import annotations

READ = {
    "companies",
    "integration_connectors",
    "profiles",
    "sync_jobs",
    "sync_logs",
    "sync_notifications",
    "sync_run_logs",
    "synced_records",
    "workspace_members",
    "workspace_threads_account_insights",
    "workspace_threads_account_insights_deltas",
    "workspace_threads_account_insights_live",
    "workspace_threads_account_views_days",
    "workspace_threads_accounts",
    "workspace_threads_post_metrics",
    "workspace_threads_post_metrics_deltas",
    "workspace_threads_post_metrics_live",
    "workspace_threads_posts",
    "workspaces",
}
"""Tables and views of which signed-in users read every column."""

READ_PARTS = {
    "connector_credentials": {"id", "company_id", "connector_id", "version", "checksum", "rotated_at", "rotated_by"},
    "connector_state": {"company_id", "connector_id", "stream", "version", "rows_ever", "updated_at"},
}
"""Tables of which they read these columns: no ciphertext, and no cursor, which may hold what is not for everybody."""

INSERT = {
    "integration_connectors": {"id", "company_id", "provider", "connector_type", "status", "config", "name"},
    "sync_jobs": {"id", "company_id", "connector_id", "job_type", "payload", "schedule", "priority", "name"},
}
UPDATE = {
    "integration_connectors": {"provider", "connector_type", "status", "config", "name"},
    "sync_jobs": {"connector_id", "job_type", "payload", "schedule", "priority", "name"},
    "sync_notifications": {"read_at"},
}
"""What signed-in users may name when they write; that only admins of the company do is row security's."""

DELETE = {"integration_connectors", "sync_jobs"}
"""Likewise. Whoever may delete from a table may also lock it."""

CALL = {
    "current_company_id()",
    "has_role(text)",
    "my_workspace_ids()",
    "is_workspace_member(uuid)",
    "is_workspace_editor(uuid)",
    "tidemill_enqueue(text,jsonb)",
    "sync_job_control(uuid,text,text)",
}
"""Functions for signed-in users."""

SERVER_READS_ONLY = {
    "tidemill.clock",
    "tidemill.edge_call",
    "workspace_threads_account_insights_live",
    "workspace_threads_post_metrics_live",
}
"""Beside these, service_role reads and writes every table of schema public, and nothing of schema tidemill."""

SERVER_CALLS = {
    "current_company_id()",
    "has_role(text)",
    "acquire_system_job_lock(text,integer)",
    "release_system_job_lock(text)",
    "check_rate_limit(text,integer,integer)",
    "trigger_edge_function(text)",
    "sync_job_control(uuid,text,text)",
    "tidemill.now()",
    "tidemill.new_token()",
    "tidemill.lane_of(uuid)",
    "tidemill.detach_history(timestamp with time zone)",
    "tidemill.ensure_partitions(interval)",
    "tidemill.drop_detached_history()",
    "tidemill.partitions_of(regclass)",
    "tidemill.enqueue(text,jsonb,text,text,integer,timestamp with time zone,interval,uuid,integer)",
    "tidemill.enqueue_many(jsonb)",
    "tidemill.open_batch(text,jsonb,timestamp with time zone,uuid)",
    "tidemill.seal_batch(uuid)",
}

TABLES = """
select c.oid, c.oid::regclass::text as name, c.relkind::text as kind,
    array(select attname::text from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped) as columns
from pg_class as c
where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relnamespace::regnamespace::text in ('public', 'tidemill')
order by 2
"""
FUNCTIONS = """
select p.oid, p.oid::regprocedure::text as name, p.pronamespace::regnamespace::text as schema, p.prosecdef, p.proconfig
from pg_proc as p where p.pronamespace::regnamespace::text in ('public', 'tidemill')
"""

Cell = tuple[str, str, str]
"""Table, verb, column; the column is * where the right is the table's."""


def open_to_tenants() -> set[Cell]:
    """The cells open to role authenticated."""
    parts = {"select": READ_PARTS, "insert": INSERT, "update": UPDATE}
    cells = {(table, verb, column) for verb, of in parts.items() for table in of for column in of[table]}
    return cells | {(table, "select", "*") for table in READ} | {(table, "delete", "*") for table in DELETE}


def open_to_servers(tables: set[str]) -> set[Cell]:
    """The cells open to service_role, among these tables and views."""
    written = {name for name in tables - SERVER_READS_ONLY if not name.startswith("tidemill.")}
    reads = {(table, "select", "*") for table in written | SERVER_READS_ONLY}
    return reads | {(table, verb, "*") for table in written for verb in ("insert", "update", "delete")}
