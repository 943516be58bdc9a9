-- Logs: one row per system run (seed 001), one per run, account and step (seed 002).
--
-- Columns, defaults and index names are the seeds'; what stands after "metadata" is ours. status and job_type are text with a CHECK.
-- An open row (pending, running) has no completed_at, a closed one has: no row can claim to be both.

select tidemill.claim_tables('20261122000600', 'system_job_logs', 'sync_logs');

create table if not exists public.system_job_logs (
    id             uuid primary key default gen_random_uuid(),
    job_type       text not null
        check (job_type in ('scheduled_sync', 'token_refresh', 'token_auto_revoke', 'workspace_cleanup')),
    status         text not null default 'pending'
        check (status in ('pending', 'running', 'completed', 'partial', 'failed', 'skipped')),
    started_at     timestamptz not null default now(),
    completed_at   timestamptz,
    error_message  text,
    metadata       jsonb,

    trigger        text,
    sync_batch_at  timestamptz,
    batch_id       uuid,
    request_key    text,
    skipped_reason text,

    constraint system_job_logs_closed_has_end check ((status in ('pending', 'running')) = (completed_at is null)),
    constraint system_job_logs_skipped_has_reason check (status <> 'skipped' or skipped_reason is not null)
);
comment on table public.system_job_logs is 'Runs of system jobs, bound to no account. Kept 30 days; a running row is never purged.';
comment on column public.system_job_logs.id is 'Identity of the run; sync_logs.run_id of its accounts'' rows.';
comment on column public.system_job_logs.job_type is 'scheduled_sync, token_refresh, token_auto_revoke or workspace_cleanup.';
comment on column public.system_job_logs.status is 'pending, running, completed, partial (some items failed), failed, skipped (nothing was done, see skipped_reason).';
comment on column public.system_job_logs.started_at is 'Start.';
comment on column public.system_job_logs.completed_at is 'End; NULL while pending or running.';
comment on column public.system_job_logs.error_message is 'Why it failed, redacted.';
comment on column public.system_job_logs.metadata is 'Counts and bounded results, by job_type.';
comment on column public.system_job_logs.trigger is 'What asked for the run: schedule, http, cli, demo, …';
comment on column public.system_job_logs.sync_batch_at is 'The slot: the schedule''s fire time, or the second of a manual or late run. One run per job_type and slot, skipped ones aside.';
comment on column public.system_job_logs.batch_id is 'The engine''s batch that does the work.';
comment on column public.system_job_logs.request_key is 'The caller''s key of the request that asked for the run.';
comment on column public.system_job_logs.skipped_reason is 'Why nothing was done: already_running, already_ran, …';
create index if not exists idx_system_job_logs_type_status on public.system_job_logs (job_type, status);
create index if not exists idx_system_job_logs_started on public.system_job_logs (started_at desc);
create unique index if not exists idx_system_job_logs_slot
    on public.system_job_logs (job_type, sync_batch_at) where status <> 'skipped';
create unique index if not exists idx_system_job_logs_request
    on public.system_job_logs (job_type, request_key) where request_key is not null;

create table if not exists public.sync_logs (
    id                           uuid primary key default gen_random_uuid(),
    workspace_threads_account_id uuid not null,
    job_type                     text not null check (job_type in ('sync_posts', 'sync_metrics', 'sync_account_insights')),
    status                       text not null default 'pending'
        check (status in ('pending', 'running', 'completed', 'partial', 'failed', 'skipped')),
    started_at                   timestamptz not null default now(),
    completed_at                 timestamptz,
    error_message                text,
    metadata                     jsonb,

    workspace_id                 uuid not null,
    run_id                       uuid not null,
    trigger                      text,
    triggered_by                 uuid,
    attempt                      integer not null default 1 check (attempt > 0),
    sync_batch_at                timestamptz,
    reason                       text,

    unique (run_id, workspace_threads_account_id, job_type),
    -- A log cannot stand in another workspace than its account.
    foreign key (workspace_id, workspace_threads_account_id)
        references public.workspace_threads_accounts (workspace_id, id) on delete cascade,
    constraint sync_logs_closed_has_end check ((status in ('pending', 'running')) = (completed_at is null)),
    constraint sync_logs_skipped_has_reason check (status <> 'skipped' or reason is not null)
);
comment on table public.sync_logs is 'What each step of each account''s sync came to; members of the workspace read it. Kept 30 days; a running row is never purged.';
comment on column public.sync_logs.id is 'Identity.';
comment on column public.sync_logs.workspace_threads_account_id is 'The account.';
comment on column public.sync_logs.job_type is 'The step: sync_posts, sync_metrics or sync_account_insights.';
comment on column public.sync_logs.status is 'pending, running, completed, partial (see reason), failed, skipped (nothing was done, see reason).';
comment on column public.sync_logs.started_at is 'Start of the step; while pending, when the row was made.';
comment on column public.sync_logs.completed_at is 'End; NULL while pending or running.';
comment on column public.sync_logs.error_message is 'Why it failed, redacted.';
comment on column public.sync_logs.metadata is 'Counts, duration_ms, retry_count and, after a failure, the redacted api_response.';
comment on column public.sync_logs.workspace_id is 'The tenant; always that of the account.';
comment on column public.sync_logs.run_id is 'The run: system_job_logs.id of a scheduled one, an id of its own for a manual one.';
comment on column public.sync_logs.trigger is 'What asked for the run: schedule, http, cli, demo, manual, …';
comment on column public.sync_logs.triggered_by is 'The user who asked for it, if one did.';
comment on column public.sync_logs.attempt is 'Which try wrote the row; a retry reuses it.';
comment on column public.sync_logs.sync_batch_at is 'The slot.';
comment on column public.sync_logs.reason is 'Why skipped, partial or failed, as one word: token_expired, rate_limited, time_budget, deadline, …';
create index if not exists idx_sync_logs_account on public.sync_logs (workspace_threads_account_id);
create index if not exists idx_sync_logs_started on public.sync_logs (started_at desc);
create index if not exists idx_sync_logs_status on public.sync_logs (status) where status = 'failed';
-- A workspace's log in order, under row security.
create index if not exists idx_sync_logs_workspace_started on public.sync_logs (workspace_id, started_at desc);


-- Row security: members read their workspaces' sync_logs; system_job_logs are nobody's but the engine's -----------------

select tidemill.protect('public.system_job_logs');
select tidemill.protect('public.sync_logs');

grant select, insert, update, delete on public.system_job_logs, public.sync_logs to service_role;
grant select on public.sync_logs to authenticated;

drop policy if exists "Sync logs readable by members" on public.sync_logs;
create policy "Sync logs readable by members" on public.sync_logs for select to authenticated
    using (workspace_id = any (array(select public.my_workspace_ids())));


insert into tidemill.schema_migrations (version, name) values ('20261122000600', 'logs') on conflict do nothing;
