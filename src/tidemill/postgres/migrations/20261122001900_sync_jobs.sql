-- Tenants' own syncs (seed 000): a company's connectors, their sealed credentials, its sync jobs, their runs, and what they brought.
--
-- Who writes what: a company's admins the definitions, the engine the rest; column grants say so. company_id stands on every row, in
-- every key between these tables, and first in the indexes that row security needs.
--
-- JSON that a tenant writes is bounded in size, depth (32) and magnitude of numbers (1e308): what a parser refuses must not reach
-- the tick, which reads the rows of all tenants.

select tidemill.claim_tables('20261122001900', 'integration_connectors', 'connector_credentials', 'sync_jobs', 'sync_run_logs',
    'synced_records', 'connector_state', 'sync_notifications');

-- Connectors ----------------------------------------------------------------------------------------------------------

create table if not exists public.integration_connectors (
    id             uuid primary key default gen_random_uuid(),
    company_id     uuid not null references public.companies (id) on delete cascade,
    provider       varchar(50) not null check (provider ~ '^[a-z][a-z0-9_.-]*$'),
    connector_type varchar(30) not null default 'api',
    status         varchar(20) not null default 'active' check (status in ('active', 'inactive')),
    config         jsonb not null default '{}'::jsonb
        check (jsonb_typeof(config) = 'object' and octet_length(config::text) <= 65536)
        check (not jsonb_path_exists(config, '$.**{33}')
            and not jsonb_path_exists(config, '$.** ? (@.type() == "number" && (@ > 1e308 || @ < -1e308))')),
    last_synced_at timestamptz,
    created_at     timestamptz not null default current_timestamp,
    updated_at     timestamptz not null default current_timestamp,

    name           varchar(150),
    version        integer not null default 1,
    unique (company_id, id)
);
comment on table public.integration_connectors is '集成连接器';
comment on column public.integration_connectors.id is '连接器唯一标识';
comment on column public.integration_connectors.company_id is '所属公司';
comment on column public.integration_connectors.provider is '提供方: the name of a connector that the workers know: threads, http, singer, …';
comment on column public.integration_connectors.connector_type is '连接器类型（api、webhook、database、file 等）';
comment on column public.integration_connectors.status is '状态: active, or inactive: its jobs are skipped.';
comment on column public.integration_connectors.config is '非敏感配置: settings without secrets, as the provider''s connector reads them.';
comment on column public.integration_connectors.last_synced_at is '最近同步时间: when a run of it last ended completed.';
comment on column public.integration_connectors.created_at is '创建时间';
comment on column public.integration_connectors.updated_at is '更新时间: of the definition.';
comment on column public.integration_connectors.name is 'What people call it; unique within the company.';
comment on column public.integration_connectors.version is 'Counts the changes of the definition.';
create index if not exists idx_integration_connectors_company_id on public.integration_connectors (company_id);
create unique index if not exists idx_integration_connectors_name
    on public.integration_connectors (company_id, name) where name is not null;

create table if not exists public.connector_credentials (
    id                uuid primary key default gen_random_uuid(),
    company_id        uuid not null references public.companies (id) on delete cascade,
    connector_id      uuid not null,
    version           integer not null check (version > 0),
    secret_ciphertext bytea not null,
    checksum          varchar(128) not null,
    rotated_at        timestamptz not null default current_timestamp,
    rotated_by        uuid,
    unique (company_id, id),
    unique (connector_id, version),
    foreign key (company_id, connector_id) references public.integration_connectors (company_id, id) on delete cascade
);
comment on table public.connector_credentials is '连接器凭据: the secrets of a connector, sealed by the vault; the newest version counts. They enter by the API or the command line, never by SQL of a tenant.';
comment on column public.connector_credentials.id is '凭据唯一标识';
comment on column public.connector_credentials.company_id is '所属公司';
comment on column public.connector_credentials.connector_id is '连接器';
comment on column public.connector_credentials.version is '版本: 1, 2, …';
comment on column public.connector_credentials.secret_ciphertext is '密文: a blob of the vault over a JSON object of secrets; nobody but the engine reads it.';
comment on column public.connector_credentials.checksum is '校验和: SHA-256 of the ciphertext, hexadecimal.';
comment on column public.connector_credentials.rotated_at is '轮换时间';
comment on column public.connector_credentials.rotated_by is '轮换人: the "sub" of a user''s token; users may be kept elsewhere, so it points nowhere.';
create index if not exists idx_connector_credentials_company_id on public.connector_credentials (company_id, connector_id, version desc);

create or replace function tidemill.touch_connector() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if (new.provider, new.connector_type, new.status, new.config, new.name)
        is distinct from (old.provider, old.connector_type, old.status, old.config, old.name) then
        new.version := old.version + 1;
        new.updated_at := now();
    end if;
    return new;
end
$$;
comment on function tidemill.touch_connector() is 'Trigger: counts the changes of a connector''s definition.';
revoke all on function tidemill.touch_connector() from public;
create or replace trigger touch_connector before update on public.integration_connectors
    for each row execute function tidemill.touch_connector();

create or replace function tidemill.keep_connector() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    jobs bigint := (
        select count(*) from public.sync_jobs as j where j.company_id = old.company_id and j.connector_id = old.id
    );
begin
    if jobs > 0 then
        raise exception 'connector %: % sync job(s) use it', coalesce(quote_literal(old.name), old.id::text), jobs
            using errcode = 'foreign_key_violation', schema = 'public', table = 'integration_connectors', column = 'id',
                  hint = 'Set its status to inactive, or delete those jobs first.';
    end if;
    return old;
end
$$;
comment on function tidemill.keep_connector() is
    'Trigger: says in words what the foreign key of sync_jobs would refuse. The key stands behind it, so that no race gets through.';
revoke all on function tidemill.keep_connector() from public;
-- A company that goes takes its connectors with it: those deletes come from a trigger, and pass.
create or replace trigger keep_connector before delete on public.integration_connectors
    for each row when (pg_trigger_depth() = 0) execute function tidemill.keep_connector();


-- Sync jobs -----------------------------------------------------------------------------------------------------------

create table if not exists public.sync_jobs (
    id              uuid primary key default gen_random_uuid(),
    company_id      uuid not null references public.companies (id) on delete cascade,
    connector_id    uuid not null references public.integration_connectors (id),
    job_type        varchar(30) not null check (job_type ~ '^[a-z][a-z0-9_.-]*$'),
    payload         jsonb not null default '{}'::jsonb
        check (octet_length(payload::text) <= 65536)
        check (not jsonb_path_exists(payload, '$.**{33}')
            and not jsonb_path_exists(payload, '$.** ? (@.type() == "number" && (@ > 1e308 || @ < -1e308))')),
    schedule        jsonb not null default '{}'::jsonb
        check (octet_length(schedule::text) <= 8192)
        check (not jsonb_path_exists(schedule, '$.**{33}')
            and not jsonb_path_exists(schedule, '$.** ? (@.type() == "number" && (@ > 1e308 || @ < -1e308))')),
    status          varchar(20) not null default 'idle'
        check (status in ('idle', 'queued', 'running', 'paused', 'disabled', 'error')),
    priority        integer not null default 0 check (priority between -1000 and 1000),
    next_run_at     timestamptz,
    last_run_at     timestamptz,
    created_at      timestamptz not null default current_timestamp,
    updated_at      timestamptz not null default current_timestamp,

    name            varchar(150),
    version         integer not null default 1,
    paused_at       timestamptz,
    suspended_at    timestamptz,
    disabled_reason text,
    last_error      text,
    failures        integer not null default 0 check (failures >= 0),
    last_run_status varchar(20) check (last_run_status in ('completed', 'partial', 'failed', 'skipped')),
    run_state       varchar(20) not null default 'idle' check (run_state in ('idle', 'queued', 'running')),
    planned_version integer,
    plan_error      text,
    unique (company_id, id),
    -- A job cannot point at another company's connector, nor follow its own to another company.
    foreign key (company_id, connector_id) references public.integration_connectors (company_id, id)
);
comment on table public.sync_jobs is '调度任务';
comment on column public.sync_jobs.id is '任务唯一标识';
comment on column public.sync_jobs.company_id is '所属公司';
comment on column public.sync_jobs.connector_id is '连接器';
comment on column public.sync_jobs.job_type is '任务类型（sync、replay、repair 等）';
comment on column public.sync_jobs.payload is '任务参数';
comment on column public.sync_jobs.schedule is '调度设置';
comment on column public.sync_jobs.status is '当前状态';
comment on column public.sync_jobs.priority is '优先级';
comment on column public.sync_jobs.next_run_at is '下次运行时间';
comment on column public.sync_jobs.last_run_at is '最近运行时间';
comment on column public.sync_jobs.created_at is '创建时间';
comment on column public.sync_jobs.updated_at is '更新时间';
comment on column public.sync_jobs.name is 'What people call it; unique within the company.';
comment on column public.sync_jobs.version is 'Counts the changes of the definition, and those of the company''s zone where the schedule names none.';
comment on column public.sync_jobs.paused_at is 'When it was paused; NULL = it fires.';
comment on column public.sync_jobs.suspended_at is 'Since when it rests because its company is not active; NULL = it fires.';
comment on column public.sync_jobs.disabled_reason is 'Why it was switched off after failing again and again; resume by sync_job_control.';
comment on column public.sync_jobs.last_error is 'How its last run failed, redacted; NULL after a run that did not.';
comment on column public.sync_jobs.failures is 'Runs that have failed in a row.';
comment on column public.sync_jobs.last_run_status is 'completed, partial, failed or skipped.';
comment on column public.sync_jobs.run_state is 'idle, queued or running: whatever else holds of the job, status tells this while a run is open.';
comment on column public.sync_jobs.planned_version is 'The version that was planned last; one that differs is planned at the next tick.';
comment on column public.sync_jobs.plan_error is 'Why it cannot be planned, in words for whoever wrote it; NULL once it is mended. No worker knows its type: it is planned once one does.';
create index if not exists idx_sync_jobs_company_id on public.sync_jobs (company_id);
-- Not led by the company: the seed's foreign key looks for jobs by the connector alone. The rest is the order they are listed in.
create index if not exists idx_sync_jobs_connector on public.sync_jobs (connector_id, company_id, id);
create index if not exists idx_sync_jobs_company_next on public.sync_jobs (company_id, next_run_at);
create unique index if not exists idx_sync_jobs_name on public.sync_jobs (company_id, name) where name is not null;
-- What the tick reads, and nothing of what sleeps.
-- By type, both: what no worker knows costs those nothing that look for what they know.
create index if not exists sync_jobs_due on public.sync_jobs (job_type, next_run_at)
    where next_run_at is not null and paused_at is null and suspended_at is null and disabled_reason is null
        and plan_error is null and planned_version = version;
create index if not exists sync_jobs_unplanned on public.sync_jobs (job_type, id) where planned_version is distinct from version;
-- Which types there are, and which jobs are of one that no worker knows and have not been told so.
create index if not exists sync_jobs_type on public.sync_jobs (job_type, id) where plan_error is null;

create or replace function tidemill.derive_sync_job() returns trigger
language plpgsql
set search_path = ''
as $$
-- The one place that writes status: definition and run keep columns of their own, so that neither loses what the other says.
begin
    if tg_op = 'UPDATE' and (new.connector_id, new.job_type, new.payload, new.schedule, new.priority, new.name)
        is distinct from (old.connector_id, old.job_type, old.payload, old.schedule, old.priority, old.name) then
        new.version := old.version + 1;
        new.updated_at := now();
        if new.job_type <> old.job_type then
            new.plan_error := null;  -- what was wrong with the old type's
        end if;
    end if;
    new.status := case
        when new.run_state <> 'idle' then new.run_state
        when new.disabled_reason is not null then 'disabled'
        when new.paused_at is not null or new.suspended_at is not null then 'paused'
        when new.plan_error is not null then 'error'
        else 'idle'
    end;
    return new;
end
$$;
comment on function tidemill.derive_sync_job() is 'Trigger: status is derived; version counts the changes of the definition.';
revoke all on function tidemill.derive_sync_job() from public;
create or replace trigger derive before insert or update on public.sync_jobs
    for each row execute function tidemill.derive_sync_job();

create or replace function tidemill.wake_due() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    perform pg_notify('tidemill_due', tg_argv[0]);
    return null;
end
$$;
comment on function tidemill.wake_due() is 'Trigger: tells the ticks that a source has something new.';
revoke all on function tidemill.wake_due() from public;
create or replace trigger wake_insert after insert on public.sync_jobs
    for each statement execute function tidemill.wake_due('sync_jobs');
create or replace trigger wake_update
    after update of connector_id, job_type, payload, schedule, priority, paused_at, disabled_reason on public.sync_jobs
    for each statement execute function tidemill.wake_due('sync_jobs');

create or replace function tidemill.replan_company() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    -- By the version, which a tick compares that is planning by the old zone just now.
    with named_no_zone as (
        select j.id from public.sync_jobs as j
        where j.company_id = new.id and not j.schedule ? 'timezone'
        order by j.id for no key update
    )
    update public.sync_jobs as j set version = j.version + 1 from named_no_zone as n where j.id = n.id;
    perform pg_notify('tidemill_due', 'sync_jobs');
    return null;
end
$$;
comment on function tidemill.replan_company() is 'Trigger: schedules that name no zone mean the company''s.';
revoke all on function tidemill.replan_company() from public;
create or replace trigger replan after update of timezone on public.companies
    for each row when (new.timezone is distinct from old.timezone) execute function tidemill.replan_company();

create or replace function tidemill.suspend_company() returns trigger
language plpgsql security definer
set search_path = ''
as $$
begin
    -- What comes due meanwhile is kept for the misfire rule, as it is in a pause.
    with its as (
        select j.id from public.sync_jobs as j where j.company_id = new.id order by j.id for no key update
    )
    update public.sync_jobs as j
    set suspended_at = case when new.status <> 'active' then coalesce(j.suspended_at, tidemill.now()) end
    from its as i where j.id = i.id and (j.suspended_at is null) is distinct from (new.status = 'active');
    perform pg_notify('tidemill_due', 'sync_jobs');
    return null;
end
$$;
comment on function tidemill.suspend_company() is 'Trigger: the jobs of a company that is not active rest, and take up their schedules when it is again.';
revoke all on function tidemill.suspend_company() from public;
create or replace trigger suspend after update of status on public.companies
    for each row when ((new.status = 'active') is distinct from (old.status = 'active')) execute function tidemill.suspend_company();

create table if not exists tidemill.sync_job_type (
    name     text primary key,
    known_at timestamptz not null default clock_timestamp()
);
comment on table tidemill.sync_job_type is 'Types of sync jobs that workers know: what a node does not know, another one may.';
comment on column tidemill.sync_job_type.name is 'As sync_jobs.job_type says it.';
comment on column tidemill.sync_job_type.known_at is 'When a worker last said so (clock_timestamp).';


-- Runs ----------------------------------------------------------------------------------------------------------------

create table if not exists public.sync_run_logs (
    id              uuid primary key default gen_random_uuid(),
    company_id      uuid not null references public.companies (id) on delete cascade,
    job_id          uuid not null,
    started_at      timestamptz not null default now(),
    finished_at     timestamptz,
    status          varchar(20) not null default 'pending'
        check (status in ('pending', 'running', 'completed', 'partial', 'failed', 'skipped')),
    metrics         jsonb not null default '{}'::jsonb,
    error_detail    text,
    applied_actions jsonb not null default '[]'::jsonb check (jsonb_typeof(applied_actions) = 'array'),

    connector_id    uuid not null,
    job_type        varchar(30) not null,
    payload         jsonb not null default '{}'::jsonb,
    trigger         varchar(20) not null,
    requested_by    uuid,
    request_key     text check (length(request_key) between 1 and 200),
    fire_at         timestamptz,
    attempt         integer not null default 0 check (attempt >= 0),
    reason          varchar(100),
    engine_job      bigint,
    constraint sync_run_logs_closed_has_end check ((status in ('pending', 'running')) = (finished_at is null)),
    constraint sync_run_logs_skipped_has_reason check (status <> 'skipped' or reason is not null),
    unique (company_id, id),
    foreign key (company_id, job_id) references public.sync_jobs (company_id, id) on delete cascade
);
comment on table public.sync_run_logs is '任务运行日志: one row per run of a sync job; the company''s members read it.';
comment on column public.sync_run_logs.id is '运行唯一标识';
comment on column public.sync_run_logs.company_id is '所属公司';
comment on column public.sync_run_logs.job_id is '任务';
comment on column public.sync_run_logs.started_at is '开始时间; while pending, when it was asked for.';
comment on column public.sync_run_logs.finished_at is '结束时间; NULL while pending or running.';
comment on column public.sync_run_logs.status is '运行状态: pending, running, completed, partial (see reason), failed, skipped (nothing was done, see reason).';
comment on column public.sync_run_logs.metrics is '运行指标: counts, by stream.';
comment on column public.sync_run_logs.error_detail is '错误详情, redacted.';
comment on column public.sync_run_logs.applied_actions is '自动处理记录: what a repair or replay changed.';
comment on column public.sync_run_logs.connector_id is 'The connector as it was when the run was asked for.';
comment on column public.sync_run_logs.job_type is 'The job''s type then.';
comment on column public.sync_run_logs.payload is 'The job''s payload then.';
comment on column public.sync_run_logs.trigger is 'What asked for it: schedule, manual, api, cli, …';
comment on column public.sync_run_logs.requested_by is 'The user who asked for it, if one did.';
comment on column public.sync_run_logs.request_key is 'The caller''s key: the same request is answered by the same run.';
comment on column public.sync_run_logs.fire_at is 'The fire of the schedule that it stands for; NULL when it was asked for.';
comment on column public.sync_run_logs.attempt is 'Which try is or was the last.';
comment on column public.sync_run_logs.reason is 'Why partial, failed or skipped, as one word: overlap, connector_inactive, rate_limited, no_rows, …';
comment on column public.sync_run_logs.engine_job is 'The engine''s job that runs it; NULL until a tick has taken it up.';
create index if not exists idx_sync_run_logs_company_id on public.sync_run_logs (company_id, started_at desc, id desc);
create index if not exists idx_sync_run_logs_job on public.sync_run_logs (company_id, job_id, started_at desc, id desc);
-- A fire happens once, whoever ticks; a request is carried out once, however often it is made.
create unique index if not exists idx_sync_run_logs_fire on public.sync_run_logs (job_id, fire_at) where fire_at is not null;
create unique index if not exists idx_sync_run_logs_request on public.sync_run_logs (job_id, request_key) where request_key is not null;
create index if not exists sync_run_logs_open on public.sync_run_logs (job_id) where status in ('pending', 'running');
create index if not exists sync_run_logs_running on public.sync_run_logs (connector_id) where status = 'running';
create index if not exists sync_run_logs_asked on public.sync_run_logs (job_type, started_at) where status = 'pending' and engine_job is null;
create index if not exists sync_run_logs_started on public.sync_run_logs (started_at);

-- For each row, since runs are asked for one by one; those that a tick writes for fires of schedules wake nobody.
create or replace trigger wake after insert on public.sync_run_logs
    for each row when (new.engine_job is null and new.status = 'pending' and new.fire_at is null)
    execute function tidemill.wake_due('sync_jobs');

create or replace function tidemill.settle_sync_jobs(jobs uuid[]) returns void
language sql volatile
set search_path = ''
as $$
    -- Two runs of one job that end side by side would each see the other one open. So whoever settles waits for the job's row
    -- first, and the statement after that has a snapshot of its own. In order, so that two that settle many never meet crosswise.
    select from public.sync_jobs as j where j.id = any ($1) order by j.id for no key update;
    -- Derived from the open runs, so that it cannot drift from them.
    update public.sync_jobs as j set run_state = s.state
    from (
        select a.id, case
            when exists (select from public.sync_run_logs as r where r.job_id = a.id and r.status = 'running') then 'running'
            when exists (select from public.sync_run_logs as r where r.job_id = a.id and r.status = 'pending') then 'queued'
            else 'idle' end as state
        from (select distinct unnest($1) as id) as a
    ) as s
    where j.id = s.id and j.run_state is distinct from s.state
$$;
comment on function tidemill.settle_sync_jobs(uuid[]) is 'Brings run_state of these jobs in line with their open runs; to be called after their rows were written.';
revoke all on function tidemill.settle_sync_jobs(uuid[]) from public;


-- What they brought ---------------------------------------------------------------------------------------------------

create table if not exists public.synced_records (
    company_id    uuid not null references public.companies (id) on delete cascade,
    connector_id  uuid not null,
    stream        text not null,
    key           text not null,
    data          jsonb not null,
    hash          bytea not null,
    version       bigint,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    changed_at    timestamptz not null,
    deleted_at    timestamptz,
    primary key (company_id, connector_id, stream, key),
    foreign key (company_id, connector_id) references public.integration_connectors (company_id, id) on delete cascade
);
comment on table public.synced_records is 'The newest state of every record that a connector has brought; the company''s members read it.';
comment on column public.synced_records.company_id is 'The tenant.';
comment on column public.synced_records.connector_id is 'The connector.';
comment on column public.synced_records.stream is 'The stream.';
comment on column public.synced_records.key is 'The values of the stream''s key fields as a compact JSON array; for a stream without a key the record''s digest and its number among equal ones.';
comment on column public.synced_records.data is 'The record.';
comment on column public.synced_records.hash is 'SHA-256 of the record as jsonb prints it: sha256(convert_to(data::text, ''UTF8'')).';
comment on column public.synced_records.version is 'The version of the stream that it came with, where the provider numbers its full loads.';
comment on column public.synced_records.first_seen_at is 'When it first came (tidemill.now()).';
comment on column public.synced_records.last_seen_at is 'When it last came.';
comment on column public.synced_records.changed_at is 'When it last came with other data, or was deleted.';
comment on column public.synced_records.deleted_at is 'When the provider had it no more; NULL = it is there.';

create table if not exists public.connector_state (
    company_id   uuid not null references public.companies (id) on delete cascade,
    connector_id uuid not null,
    stream       text not null,
    cursor       text,
    version      bigint not null default 1,
    rows_ever    boolean not null default false,
    updated_at   timestamptz not null default clock_timestamp(),
    primary key (connector_id, stream),
    foreign key (company_id, connector_id) references public.integration_connectors (company_id, id) on delete cascade
);
comment on table public.connector_state is 'How far a connector''s streams have been read. A cursor is committed with the records before it, never without.';
comment on column public.connector_state.company_id is 'The tenant.';
comment on column public.connector_state.connector_id is 'The connector.';
comment on column public.connector_state.stream is 'The stream.';
comment on column public.connector_state.cursor is 'Where the next run begins, in the connector''s own words; may hold what is not for everybody.';
comment on column public.connector_state.version is 'Counts the changes of the cursor: a writer that saw another one writes nothing.';
comment on column public.connector_state.rows_ever is 'Whether a run has ever brought a record of it.';
comment on column public.connector_state.updated_at is 'When the cursor was last written.';
create index if not exists idx_connector_state_company_id on public.connector_state (company_id, connector_id);

create table if not exists tidemill.staged_record (
    -- No foreign key: of a few runs with very many rows each the planner reads all for every run that is deleted, and each row would
    -- look its run up. Who writes holds the run; a trigger of the runs takes them along.
    run     uuid not null,
    stream  text not null,
    hash    bytea not null,
    ordinal bigint not null,
    data    jsonb not null,
    version bigint,
    -- They are taken from here in the order of their digests, so that equal ones are numbered as they are met.
    primary key (run, stream, hash, ordinal)
);
comment on table tidemill.staged_record is 'Records of streams without a key that came before the cursor that makes them valid; they become visible with it, or go with the attempt; log-retention removes what a lost run left.';
comment on column tidemill.staged_record.run is 'The run.';
comment on column tidemill.staged_record.stream is 'The stream.';
comment on column tidemill.staged_record.hash is 'As in synced_records.';
comment on column tidemill.staged_record.ordinal is 'Their order.';
comment on column tidemill.staged_record.data is 'The record.';
comment on column tidemill.staged_record.version is 'As in synced_records.';

create or replace function tidemill.forget_staged() returns trigger
language plpgsql security definer
set search_path = ''
as $$
-- The runs that stage are few, and found by a probe each, however much they have staged; most that are deleted have nothing.
declare
    over uuid[] := array(
        with recursive staging (run) as (
            (select s.run from tidemill.staged_record as s order by s.run limit 1)
            union all
            select (select s.run from tidemill.staged_record as s where s.run > g.run order by s.run limit 1)
            from staging as g where g.run is not null
        )
        select g.run from staging as g where g.run in (select id from gone));
begin
    if over <> '{}' then
        delete from tidemill.staged_record where run = any (over);
    end if;
    return null;
end
$$;
comment on function tidemill.forget_staged() is 'Trigger: staged records go with their run.';
revoke all on function tidemill.forget_staged() from public, anon, authenticated, service_role;
create or replace trigger forget_staged after delete on public.sync_run_logs
    referencing old table as gone for each statement execute function tidemill.forget_staged();

create table if not exists tidemill.run_cursor (
    run    uuid not null references public.sync_run_logs (id) on delete cascade,
    stream text not null,
    cursor text not null,
    primary key (run, stream)
);
comment on table tidemill.run_cursor is 'How far a replay or repair has read: a cursor of its own, so that it resumes after a crash and leaves the live one alone.';
comment on column tidemill.run_cursor.run is 'The run.';
comment on column tidemill.run_cursor.stream is 'The stream.';
comment on column tidemill.run_cursor.cursor is 'In the connector''s own words; may hold what is not for everybody, so it does not stand in the run''s metrics.';

create table if not exists public.sync_notifications (
    id           uuid primary key default gen_random_uuid(),
    company_id   uuid not null references public.companies (id) on delete cascade,
    job_id       uuid,
    run_id       uuid,
    kind         varchar(50) not null,
    message      text not null,
    created_at   timestamptz not null default now(),
    read_at      timestamptz,
    foreign key (company_id, job_id) references public.sync_jobs (company_id, id) on delete cascade
);
comment on table public.sync_notifications is 'What a company should know without having to look: a job that was switched off, and why.';
comment on column public.sync_notifications.id is 'Identity.';
comment on column public.sync_notifications.company_id is 'The tenant.';
comment on column public.sync_notifications.job_id is 'The sync job it is about.';
comment on column public.sync_notifications.run_id is 'The run that led to it.';
comment on column public.sync_notifications.kind is 'What it tells: job_disabled, …';
comment on column public.sync_notifications.message is 'In words.';
comment on column public.sync_notifications.created_at is 'When it was told.';
comment on column public.sync_notifications.read_at is 'When an admin of the company ticked it off.';
create index if not exists idx_sync_notifications_company_id on public.sync_notifications (company_id, created_at desc, id desc);
create index if not exists idx_sync_notifications_job on public.sync_notifications (company_id, job_id) where job_id is not null;


-- The door for run, pause, resume and cancel --------------------------------------------------------------------------

create or replace function public.sync_job_control(job uuid, action text, request_key text default null)
returns table (status varchar, run_id uuid, already boolean)
language plpgsql volatile security definer
set search_path = ''
as $$
#variable_conflict use_column
-- As definer it is above row security, so it checks by itself: an admin of the job's company, or a server, which is whoever has
-- the rights of service_role or of this function's owner. A login that only was granted `authenticated` is a tenant like any other.
declare
    caller name := case current_setting('role') when 'none' then session_user else current_setting('role') end;
    server boolean := pg_has_role(caller, 'service_role', 'USAGE') or pg_has_role(caller, current_user, 'USAGE');
    found  public.sync_jobs;
    run    uuid;
    before boolean := false;
begin
    if $2 is null or $2 not in ('run', 'pause', 'resume', 'cancel') then
        perform tidemill.refuse('action', format('%L is none of run, pause, resume, cancel', left($2, 50)));
    end if;
    if length($3) not between 1 and 200 then
        perform tidemill.refuse('request_key', format('needs 1 to 200 characters, has %s', length($3)));
    end if;
    if not (server or (select public.has_role('Vibot.admin'))) then
        raise exception 'only an admin of the company may % a sync job', $2 using errcode = 'insufficient_privilege';
    end if;
    -- What is another company's is not found, and is not locked either.
    select j.* into found from public.sync_jobs as j
    where j.id = $1 and (server or j.company_id = (select public.current_company_id()))
    for no key update;
    if found.id is null then
        raise exception 'job: there is no such sync job' using errcode = 'TM004', column = 'job';
    end if;
    case $2
    when 'run' then
        -- A request that was made before is answered as it was then, whatever has become of the job.
        select r.id into run from public.sync_run_logs as r where r.job_id = $1 and r.request_key = $3;
        if run is null and found.disabled_reason is not null then
            perform tidemill.refuse('action', 'the job is disabled; resume it first');
        end if;
        if run is null then
            select r.id into run from public.sync_run_logs as r
            where r.job_id = $1 and r.status in ('pending', 'running') order by r.started_at desc, r.id desc limit 1;
        end if;
        before := run is not null;
        if not before then
            insert into public.sync_run_logs
                (company_id, job_id, connector_id, job_type, payload, started_at, trigger, requested_by, request_key)
            values (found.company_id, found.id, found.connector_id, found.job_type, found.payload, tidemill.now(),
                    case when server then 'operator' else 'manual' end, (select auth.uid()), $3)
            returning id into run;
            perform tidemill.settle_sync_jobs(array[$1]);
        end if;
    when 'pause' then
        before := found.paused_at is not null;
        update public.sync_jobs set paused_at = tidemill.now() where id = $1 and paused_at is null;
    when 'resume' then
        before := found.paused_at is null and found.disabled_reason is null;
        -- What was switched off begins anew; what was paused takes up its schedule, with what it missed by its own rule.
        update public.sync_jobs
        set paused_at = null, disabled_reason = null, failures = 0,
            next_run_at = case when disabled_reason is null then next_run_at end,
            planned_version = case when disabled_reason is null then planned_version end
        where id = $1 and (paused_at is not null or disabled_reason is not null or failures > 0);
    when 'cancel' then
        before := not exists (
            select from public.sync_run_logs as r where r.job_id = $1 and r.status in ('pending', 'running')
        );
        -- In this order: a run that a tick takes up meanwhile has its engine's job by the second statement.
        update public.sync_run_logs set status = 'skipped', reason = 'cancelled', finished_at = tidemill.now()
        where job_id = $1 and status = 'pending' and engine_job is null;
        insert into tidemill.job_cancel (job, asked_by)
        select r.engine_job, coalesce((select auth.uid())::text, 'operator') from public.sync_run_logs as r
        where r.job_id = $1 and r.status in ('pending', 'running') and r.engine_job is not null
        order by r.engine_job
        on conflict do nothing;
        perform tidemill.settle_sync_jobs(array[$1]);
    end case;
    return query select j.status, run, before from public.sync_jobs as j where j.id = $1;
end
$$;
comment on function public.sync_job_control(uuid, text, text) is
    'run, pause, resume or cancel a sync job, for admins of its company and for servers. run answers the run; one that is open already, or was asked for with the same key, is answered as it is. already: there was nothing to do.';
revoke all on function public.sync_job_control(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.sync_job_control(uuid, text, text) to authenticated, service_role;


-- Row security --------------------------------------------------------------------------------------------------------

select tidemill.protect('public.integration_connectors');
select tidemill.protect('public.connector_credentials');
select tidemill.protect('public.sync_jobs');
select tidemill.protect('public.sync_run_logs');
select tidemill.protect('public.synced_records');
select tidemill.protect('public.connector_state');
select tidemill.protect('public.sync_notifications');
select tidemill.protect('tidemill.sync_job_type');
select tidemill.protect('tidemill.staged_record');
select tidemill.protect('tidemill.run_cursor');

grant select, insert, update, delete on public.integration_connectors, public.connector_credentials, public.sync_jobs,
    public.sync_run_logs, public.synced_records, public.connector_state, public.sync_notifications to service_role;

grant select on public.integration_connectors, public.sync_jobs, public.sync_run_logs, public.synced_records,
    public.sync_notifications to authenticated;
grant select (id, company_id, connector_id, version, checksum, rotated_at, rotated_by) on public.connector_credentials to authenticated;
grant select (company_id, connector_id, stream, version, rows_ever, updated_at) on public.connector_state to authenticated;

-- Definitions are the admins' to write; company_id is said once, at the start.
grant insert (id, company_id, provider, connector_type, status, config, name), update (provider, connector_type, status, config, name), delete
    on public.integration_connectors to authenticated;
grant insert (id, company_id, connector_id, job_type, payload, schedule, priority, name),
    update (connector_id, job_type, payload, schedule, priority, name), delete on public.sync_jobs to authenticated;
grant update (read_at) on public.sync_notifications to authenticated;

do $$
declare
    mine    constant text := 'company_id = (select public.current_company_id())';
    admins  constant text := mine || ' and (select public.has_role(''Vibot.admin''))';
    wanted  record;
begin
    for wanted in
        select * from (values
            ('integration_connectors', 'Integration connectors'), ('sync_jobs', 'Sync jobs'), ('sync_run_logs', 'Sync run logs'),
            ('synced_records', 'Synced records'), ('connector_state', 'Connector state'), ('sync_notifications', 'Sync notifications')
        ) as t (name, title)
    loop
        execute format('drop policy if exists %I on public.%I', wanted.title || ' readable within company', wanted.name);
        execute format('create policy %I on public.%I for select to authenticated using (%s)',
                       wanted.title || ' readable within company', wanted.name, mine);
    end loop;
    for wanted in
        select * from (values ('integration_connectors', 'Integration connectors'), ('sync_jobs', 'Sync jobs')) as t (name, title)
    loop
        -- One permissive policy per role and command: the seed's FOR ALL, split, behind its name.
        execute format('drop policy if exists %I on public.%I', wanted.title || ' managed by admins (insert)', wanted.name);
        execute format('create policy %I on public.%I for insert to authenticated with check (%s)',
                       wanted.title || ' managed by admins (insert)', wanted.name, admins);
        execute format('drop policy if exists %I on public.%I', wanted.title || ' managed by admins (update)', wanted.name);
        execute format('create policy %I on public.%I for update to authenticated using (%s) with check (%s)',
                       wanted.title || ' managed by admins (update)', wanted.name, admins, admins);
        execute format('drop policy if exists %I on public.%I', wanted.title || ' managed by admins (delete)', wanted.name);
        execute format('create policy %I on public.%I for delete to authenticated using (%s)',
                       wanted.title || ' managed by admins (delete)', wanted.name, admins);
    end loop;
    drop policy if exists "Connector credentials seen by admins" on public.connector_credentials;
    execute format('create policy "Connector credentials seen by admins" on public.connector_credentials for select to authenticated using (%s)', admins);
    drop policy if exists "Sync notifications ticked off by admins" on public.sync_notifications;
    execute format('create policy "Sync notifications ticked off by admins" on public.sync_notifications for update to authenticated using (%s) with check (%s)', admins, admins);
end
$$;


-- Realtime, where the platform has it -----------------------------------------------------------------------------------

do $$
declare
    wanted text;
begin
    if not exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) then
        return;
    end if;
    foreach wanted in array array['sync_jobs', 'sync_run_logs', 'integration_connectors', 'sync_notifications'] loop
        if not exists (
            select from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = wanted
        ) then
            execute format('alter publication supabase_realtime add table public.%I', wanted);
        end if;
    end loop;
exception when insufficient_privilege then
    raise warning 'publication supabase_realtime may not be changed by %', current_user
        using hint = 'Ask an administrator to run: alter publication supabase_realtime add table public.sync_jobs, public.sync_run_logs, public.integration_connectors, public.sync_notifications';
end
$$;


insert into tidemill.schema_migrations (version, name) values ('20261122001900', 'sync_jobs') on conflict do nothing;
