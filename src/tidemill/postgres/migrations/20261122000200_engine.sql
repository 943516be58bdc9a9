-- The engine's own tables. A job's state is the table its row is in:
--
--   job_delayed ──due──▶ job_ready ──claim──▶ job_lease ──finish──▶ job_run (history)
--        ▲                   ▲                    │
--        └── retry, snooze ──┼────────────────────┤
--                            └── rescue, release ─┘
--
-- No foreign keys on the hot tables: a KEY SHARE lock on a shared parent row is traffic that every claim would pay.

create table if not exists tidemill.queue (
  id int generated always as identity primary key,
  name text not null unique check (length(name) between 1 and 100),
  paused_at timestamptz
);
comment on table tidemill.queue is 'Names of queues, interned so that hot rows carry an int.';
comment on column tidemill.queue.id is 'What job rows carry.';
comment on column tidemill.queue.name is 'The name an application uses.';
comment on column tidemill.queue.paused_at is 'Set while nothing may be claimed from this queue.';

create table if not exists tidemill.kind (
  id int generated always as identity primary key,
  name text not null unique check (length(name) between 1 and 200)
);
comment on table tidemill.kind is 'Names of job kinds, interned so that hot rows carry an int.';
comment on column tidemill.kind.id is 'What job rows carry.';
comment on column tidemill.kind.name is 'The name a handler is registered under.';

create sequence if not exists tidemill.job_id cache 100;

create or replace function tidemill.new_token() returns bigint
language sql volatile as $$
  select (pg_catalog.random() * 9007199254740991)::bigint
$$;
comment on function tidemill.new_token() is
  'A fence token. At random, since a sequence may give a number again after a crash in which a claim that nobody waited for was forgotten.';
revoke all on function tidemill.new_token() from public, anon, authenticated;
grant execute on function tidemill.new_token() to service_role;

create table if not exists tidemill.node (
  id bigint generated always as identity primary key,
  name text not null,
  pid int not null,
  started_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null
) with (fillfactor = 50);
comment on table tidemill.node is 'One row per worker process incarnation: the only heartbeat there is. Leases point here.';
comment on column tidemill.node.id is 'The incarnation: never reused, third part of every fence.';
comment on column tidemill.node.name is 'Host name, for people.';
comment on column tidemill.node.pid is 'Process id on that host, for people.';
comment on column tidemill.node.started_at is 'When the process registered (database clock).';
comment on column tidemill.node.expires_at is 'The process must renew before this instant (clock_timestamp), or its jobs are rescued.';

create table if not exists tidemill.job_ready (
  id bigint not null,
  queue int not null,
  lane bigint not null default 0,
  rank bigint not null,
  kind int not null,
  priority smallint not null default 0,
  attempt smallint not null default 0,
  crashes smallint not null default 0,
  max_attempts smallint not null,
  tenant uuid,
  batch uuid,
  key text,
  enqueued_at timestamptz not null,
  args jsonb not null,
  trace text
) with (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
  autovacuum_vacuum_insert_threshold = 100000, vacuum_truncate = off
);
create unique index if not exists job_ready_claim on tidemill.job_ready (queue, lane, rank, id);
create index if not exists job_ready_batch on tidemill.job_ready (batch) where batch is not null;
comment on table tidemill.job_ready is 'Jobs that may start now. Insert and delete only; the truth about what is due.';
comment on column tidemill.job_ready.rank is
  'Order within a lane: enqueue time in ms minus one minute per point of priority, so waiting jobs age without updates.';
comment on column tidemill.job_ready.lane is 'The tenant''s lane (tidemill.lane_of), 0 for none; claims take an equal share of every lane.';

create table if not exists tidemill.job_delayed (
  like tidemill.job_ready including defaults,
  run_at timestamptz not null,
  primary key (id)
);
create index if not exists job_delayed_due on tidemill.job_delayed (run_at);
create index if not exists job_delayed_batch on tidemill.job_delayed (batch) where batch is not null;
comment on table tidemill.job_delayed is 'Jobs that may not start yet: delayed, retrying, snoozed. Sleeping jobs cost nothing per tick.';
comment on column tidemill.job_delayed.run_at is 'When the job becomes ready, by tidemill.now().';

create table if not exists tidemill.job_lease (
  like tidemill.job_ready including defaults,
  token bigint not null,
  node bigint not null,
  claimed_at timestamptz not null,
  primary key (id)
) with (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0,
  vacuum_truncate = off
);
create index if not exists job_lease_batch on tidemill.job_lease (batch) where batch is not null;
comment on table tidemill.job_lease is 'Claimed jobs. (id, token, node) is the fence of everything written on behalf of a run.';
comment on column tidemill.job_lease.token is 'Drawn at each claim by tidemill.new_token(); compared for equality only.';
comment on column tidemill.job_lease.node is 'The incarnation that holds the job.';
comment on column tidemill.job_lease.claimed_at is 'When it was claimed (clock_timestamp).';

create table if not exists tidemill.unique_key (
  kind int not null,
  key text not null check (length(key) between 1 and 500),
  job bigint not null,
  primary key (kind, key)
);
comment on table tidemill.unique_key is
  'Held from enqueue to the job''s terminal state, over retries and snoozes: at most one live job per kind and key.';
comment on column tidemill.unique_key.kind is 'The key''s scope.';
comment on column tidemill.unique_key.key is 'Chosen by the application, e.g. an account id: then the key is the account''s lease.';
comment on column tidemill.unique_key.job is 'The live job that holds it.';

create table if not exists tidemill.job_run (
  id bigint not null,
  queue int not null,
  kind int not null,
  attempt smallint not null,
  crashes smallint not null,
  tenant uuid,
  batch uuid,
  outcome text not null check (outcome in ('done', 'partial', 'skipped', 'cancelled', 'failed', 'dead', 'retry', 'crashed')),
  reason text,
  result jsonb,
  node bigint not null,
  started_at timestamptz not null,
  finished_at timestamptz not null
) partition by range (finished_at);
create index if not exists job_run_id on tidemill.job_run (id);
create index if not exists job_run_batch on tidemill.job_run (batch) where batch is not null;
comment on table tidemill.job_run is 'History: one row per attempt that ended. Append-only, partitioned by the week of its finish, dropped rather than deleted.';
comment on column tidemill.job_run.outcome is 'How the attempt ended; retry and crashed are followed by another attempt.';
comment on column tidemill.job_run.reason is 'Why, for people: the error''s text, or the reason a handler gave.';
comment on column tidemill.job_run.result is 'What the handler returned.';
comment on column tidemill.job_run.node is 'The incarnation that ran it.';
comment on column tidemill.job_run.started_at is 'When the attempt was claimed (clock_timestamp).';
comment on column tidemill.job_run.finished_at is 'When its end was recorded (clock_timestamp); the partition key.';

create table if not exists tidemill.job_dead (
  id bigint primary key,
  queue int not null,
  kind int not null,
  priority smallint not null,
  attempt smallint not null,
  crashes smallint not null,
  max_attempts smallint not null,
  tenant uuid,
  batch uuid,
  args jsonb not null,
  trace text,
  reason text,
  died_at timestamptz not null
);
comment on table tidemill.job_dead is 'Dead letters: jobs that used up their attempts, or took too many processes down with them (poison).';
comment on column tidemill.job_dead.reason is 'The last error.';
comment on column tidemill.job_dead.died_at is 'When it was given up (clock_timestamp).';

do $$
declare
  hot text;
  col record;
begin
  -- The columns that every job table shares mean the same everywhere.
  foreach hot in array array['job_ready', 'job_delayed', 'job_lease', 'job_run', 'job_dead'] loop
    for col in
      select c.name, c.meaning from (values
        ('id', 'The job; one id over all its attempts.'),
        ('queue', 'Interned queue.'),
        ('lane', 'The tenant''s lane (tidemill.lane_of), 0 for none; claims take an equal share of every lane.'),
        ('rank', 'Order within a lane, fixed at enqueue (see job_ready).'),
        ('kind', 'Interned kind.'),
        ('priority', 'Higher first.'),
        ('attempt', 'Attempts begun so far; snoozes and releases spend none.'),
        ('crashes', 'Attempts that ended because the process holding the lease died; limited apart from errors.'),
        ('max_attempts', 'Errors after which the job is dead.'),
        ('tenant', 'Opaque owner of the job.'),
        ('batch', 'The batch that counts this job, if any.'),
        ('key', 'The unique key it holds, if any.'),
        ('enqueued_at', 'When it was enqueued (tidemill.now()).'),
        ('args', 'Arguments, as the handler gets them.'),
        ('trace', 'The trace it belongs to, as a W3C traceparent: of whoever enqueued it; null = none.')) c(name, meaning)
      join information_schema.columns i
        on i.table_schema = 'tidemill' and i.table_name = hot and i.column_name = c.name
    loop
      execute format('comment on column tidemill.%I.%I is %L', hot, col.name, col.meaning);
    end loop;
  end loop;
end $$;

create table if not exists tidemill.batch (
  id uuid primary key default gen_random_uuid(),
  state text not null default 'open' check (state in ('open', 'sealed', 'closing', 'closed')),
  total int not null default 0,
  finished int not null default 0,
  counts jsonb not null default '{}',
  cursor jsonb,
  deadline timestamptz,
  reason text,
  close_kind int not null,
  close_queue int not null,
  close_args jsonb not null,
  tenant uuid,
  trace text,
  opened_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz
) with (fillfactor = 50);
create index if not exists batch_live on tidemill.batch (deadline) where state in ('open', 'sealed');
comment on table tidemill.batch is
  'Jobs counted together. Opened, filled in chunks, sealed; when sealed and drained, or at its deadline, one closing job is enqueued.';
comment on column tidemill.batch.id is 'Carried by member jobs.';
comment on column tidemill.batch.state is 'open (being filled) → sealed → closing (its closing job exists) → closed.';
comment on column tidemill.batch.total is 'Jobs added.';
comment on column tidemill.batch.finished is 'Jobs that reached a terminal state; each counts once.';
comment on column tidemill.batch.counts is 'Terminal outcomes → how many.';
comment on column tidemill.batch.cursor is 'Where a resumable fan-out goes on.';
comment on column tidemill.batch.deadline is 'When what is left is ended skipped, reason deadline (tidemill.now()).';
comment on column tidemill.batch.reason is 'drained or deadline.';
comment on column tidemill.batch.close_kind is 'Kind of the closing job.';
comment on column tidemill.batch.close_queue is 'Queue of the closing job.';
comment on column tidemill.batch.close_args is 'Arguments of the closing job; batch and reason are added.';
comment on column tidemill.batch.tenant is 'Opaque owner of the batch.';
comment on column tidemill.batch.trace is 'The trace of whoever opened it (W3C traceparent); its closing job belongs to it.';
comment on column tidemill.batch.opened_at is 'clock_timestamp.';
comment on column tidemill.batch.closed_at is 'clock_timestamp.';

-- No SET clause: then it is inlined.
create or replace function tidemill.lane_of(tenant uuid) returns bigint
language sql immutable parallel safe as $$
  select coalesce(pg_catalog.uuid_hash_extended(tenant, 0) & 9223372036854775807, 0)
$$;
revoke all on function tidemill.lane_of(uuid) from public, anon, authenticated;
grant execute on function tidemill.lane_of(uuid) to service_role;
comment on function tidemill.lane_of(uuid) is
  'The lane of a tenant''s jobs: its hash, so that nothing is looked up or locked at enqueue; 0 for none. Two tenants that meet share one.';

create or replace function tidemill.add_counts(a jsonb, b jsonb) returns jsonb
language sql immutable set search_path = '' as $$
  select coalesce(jsonb_object_agg(key, n), '{}')
  from (select key, sum(value::int) as n
        from (select * from jsonb_each_text(a) union all select * from jsonb_each_text(b)) u group by key) s
$$;
comment on function tidemill.add_counts(jsonb, jsonb) is 'Adds two objects of counts, key by key.';

create or replace function tidemill.enqueue_closing(
  b_id uuid, b_reason text, b_kind int, b_queue int, b_args jsonb, b_tenant uuid) returns bigint
language sql set search_path = '' as $$
  with job as (
    insert into tidemill.job_ready (id, queue, lane, rank, kind, max_attempts, tenant, enqueued_at, args, trace)
    select nextval('tidemill.job_id'), b_queue, tidemill.lane_of(b_tenant), (extract(epoch from at) * 1000)::bigint, b_kind, 100,
      b_tenant, at,
      b_args || jsonb_build_object('batch', b_id, 'reason', b_reason), (select trace from tidemill.batch where id = b_id)
    from tidemill.now() as at
    returning id, queue)
  select id from job, lateral (select pg_notify('tidemill_job', queue::text)) as woken
$$;
comment on function tidemill.enqueue_closing(uuid, text, int, int, jsonb, uuid) is
  'The closing job of a batch; called once, by the statement that moved the batch to closing.';

create table if not exists tidemill.scope (
  name text primary key check (length(name) between 1 and 300),
  blocked_until timestamptz not null,
  reason text not null,
  updated_at timestamptz not null default clock_timestamp()
);
comment on table tidemill.scope is 'Outside scopes (a provider''s app, one account) that may not be called before an instant.';
comment on column tidemill.scope.name is 'E.g. threads:app:1234, threads:account:<id>.';
comment on column tidemill.scope.blocked_until is 'By tidemill.now(). A shorter block never shortens a longer one.';
comment on column tidemill.scope.reason is 'What the provider said.';
comment on column tidemill.scope.updated_at is 'clock_timestamp.';

create table if not exists tidemill.schedule (
  name text primary key,
  kind text not null,
  args jsonb not null default '{}',
  spec jsonb not null,
  next_at timestamptz,
  last_at timestamptz,
  paused_by text,
  error text,
  updated_at timestamptz not null default clock_timestamp()
);
create index if not exists schedule_due on tidemill.schedule (next_at) where paused_by is null and error is null;
comment on table tidemill.schedule is 'Schedules declared in code. Any node may tick; a fire is won by compare-and-set on next_at.';
comment on column tidemill.schedule.name is 'Chosen by the application.';
comment on column tidemill.schedule.kind is 'Kind of the job each fire enqueues.';
comment on column tidemill.schedule.args is 'Arguments of that job; fire_at is added.';
comment on column tidemill.schedule.spec is
  'When it fires: {} by hand, or cron, every, rrule or at; with timezone, jitter, misfire, overlap, from, until.';
comment on column tidemill.schedule.next_at is 'Next fire (tidemill.now()); null = none follows by itself.';
comment on column tidemill.schedule.last_at is 'Last fire.';
comment on column tidemill.schedule.paused_by is 'Who stands in for it (pg_cron, an operator); null = it runs.';
comment on column tidemill.schedule.error is 'Why it cannot be planned.';
comment on column tidemill.schedule.updated_at is 'clock_timestamp.';

create table if not exists tidemill.schedule_fire (
  name text not null,
  fire_at timestamptz not null,
  job_id bigint,
  primary key (name, fire_at)
);
comment on table tidemill.schedule_fire is 'One row per schedule and fire time: a fire happens once, whoever ticks.';
comment on column tidemill.schedule_fire.name is 'The schedule.';
comment on column tidemill.schedule_fire.fire_at is 'The instant it stands for.';
comment on column tidemill.schedule_fire.job_id is
  'The job it enqueued; null = it was skipped, because the job of the fire before had not ended.';

-- Named locks -----------------------------------------------------------------------------------------------------

create table if not exists public.system_job_locks (
  job_type text primary key,
  locked_until timestamptz not null,
  updated_at timestamptz not null default now(),
  owner text,
  fence bigint not null default 0,
  batch_id uuid,
  ttl interval not null default interval '15 seconds'
);
create index if not exists idx_system_job_locks_locked_until on public.system_job_locks (locked_until);
comment on table public.system_job_locks is 'Named locks of singleton jobs: a short lease with an owner, renewed while held.';
comment on column public.system_job_locks.job_type is 'The lock''s name.';
comment on column public.system_job_locks.locked_until is 'Free from this instant on (clock_timestamp).';
comment on column public.system_job_locks.updated_at is 'Last change.';
comment on column public.system_job_locks.owner is 'Who holds it; null = taken in the old form, by acquire_system_job_lock.';
comment on column public.system_job_locks.fence is 'Raised at each acquisition, so that an older holder can be told from the present one.';
comment on column public.system_job_locks.batch_id is 'The batch on whose behalf it is held; any node renews it while that batch is open.';
comment on column public.system_job_locks.ttl is 'What a renewal adds.';

create or replace function tidemill.acquire_lock(p_name text, p_owner text, p_ttl interval, p_batch uuid default null)
returns table (acquired boolean, locked_until timestamptz, fence bigint)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  if coalesce(btrim(p_name), '') = '' or coalesce(p_ttl, interval '0') <= interval '0' then
    return query select false, null::timestamptz, null::bigint;
    return;
  end if;
  return query
    insert into public.system_job_locks as l (job_type, locked_until, updated_at, owner, fence, batch_id, ttl)
    values (p_name, clock_timestamp() + least(p_ttl, interval '30 minutes'), clock_timestamp(), p_owner, 1, p_batch,
            least(p_ttl, interval '30 minutes'))
    on conflict (job_type) do update
      set locked_until = excluded.locked_until, updated_at = excluded.updated_at, owner = excluded.owner,
          fence = l.fence + 1, batch_id = excluded.batch_id, ttl = excluded.ttl
      where l.locked_until <= clock_timestamp()
    returning true, l.locked_until, l.fence;
  if not found then
    return query select false, l.locked_until, l.fence from public.system_job_locks l where l.job_type = p_name;
  end if;
end $$;
comment on function tidemill.acquire_lock(text, text, interval, uuid) is
  'Takes a named lock if it is free. acquired = false tells until when it is held. TTL is at most 30 minutes.';

create or replace function tidemill.release_lock(p_name text, p_owner text) returns boolean
language sql security definer set search_path = '' as $$
  with freed as (
    update public.system_job_locks set locked_until = clock_timestamp(), updated_at = clock_timestamp(), batch_id = null
    where job_type = p_name and owner is not distinct from p_owner and locked_until > clock_timestamp()
    returning 1)
  select exists (select 1 from freed)
$$;
comment on function tidemill.release_lock(text, text) is 'Frees a named lock if the caller still holds it: compare, then release.';

create or replace function public.acquire_system_job_lock(p_job_type text, p_ttl_seconds integer)
returns table (acquired boolean, locked_until timestamptz)
language sql security definer set search_path = '' as $$
  select acquired, locked_until
  from tidemill.acquire_lock(p_job_type, null, make_interval(secs => greatest(coalesce(p_ttl_seconds, 0), 0)))
$$;
comment on function public.acquire_system_job_lock(text, integer) is
  'The old form: blank name or ttl <= 0 gives acquired = false; never overwrites a lock that is held.';

create or replace function public.release_system_job_lock(p_job_type text) returns boolean
language sql security definer set search_path = '' as $$
  select tidemill.release_lock(p_job_type, null)
$$;
comment on function public.release_system_job_lock(text) is
  'The old form: frees only a lock that was taken in the old form, never one with an owner.';

-- The fence -------------------------------------------------------------------------------------------------------

-- Its plan is kept by each session, and made while the table is small: without the setting, to read all of it.
create or replace function tidemill.fence(p_job bigint, p_token bigint, p_node bigint) returns void
language plpgsql security definer set search_path = '' set enable_seqscan = off as $$
declare
  left_ms int;
begin
  select ceil(extract(epoch from n.expires_at - clock_timestamp()) * 1000)
  into left_ms
  from tidemill.job_lease l join tidemill.node n on n.id = l.node
  where l.id = p_job and l.token = p_token and l.node = p_node
  for share of l;
  if not found or left_ms <= 0 then
    raise exception 'lease lost: job % is no longer held by node %', p_job, p_node using errcode = 'TM001';
  end if;
  -- A process stopped inside this transaction may neither commit late nor pin the lease.
  perform set_config('idle_in_transaction_session_timeout', left_ms::text, true);
end $$;
comment on function tidemill.fence(bigint, bigint, bigint) is
  'First statement of every transaction that writes on behalf of a job. Locks the lease for the transaction, or raises TM001.';

-- History partitions ----------------------------------------------------------------------------------------------

create table if not exists tidemill.job_run_default partition of tidemill.job_run default;
comment on table tidemill.job_run_default is 'Catches what no weekly partition takes, so that no write fails for want of one.';

-- Enqueue from SQL ------------------------------------------------------------------------------------------------

create or replace function tidemill.intern_kind(p_name text) returns int
language plpgsql security definer set search_path = '' as $$
declare
  found_id int;
begin
  select id into found_id from tidemill.kind where name = p_name;
  if found_id is null then
    insert into tidemill.kind (name) values (p_name) on conflict (name) do nothing;
    select id into found_id from tidemill.kind where name = p_name;
  end if;
  return found_id;
end $$;
comment on function tidemill.intern_kind(text) is 'The int that stands for a kind, made at first use.';

create or replace function tidemill.intern_queue(p_name text) returns int
language plpgsql security definer set search_path = '' as $$
declare
  found_id int;
begin
  select id into found_id from tidemill.queue where name = p_name;
  if found_id is null then
    insert into tidemill.queue (name) values (p_name) on conflict (name) do nothing;
    select id into found_id from tidemill.queue where name = p_name;
  end if;
  return found_id;
end $$;
comment on function tidemill.intern_queue(text) is 'The int that stands for a queue, made at first use.';

-- Rights ----------------------------------------------------------------------------------------------------------

select tidemill.protect('tidemill.queue');
select tidemill.protect('tidemill.kind');
select tidemill.protect('tidemill.node');
select tidemill.protect('tidemill.job_ready');
select tidemill.protect('tidemill.job_delayed');
select tidemill.protect('tidemill.job_lease');
select tidemill.protect('tidemill.unique_key');
select tidemill.protect('tidemill.job_run');
select tidemill.protect('tidemill.job_run_default');
select tidemill.protect('tidemill.job_dead');
select tidemill.protect('tidemill.batch');
select tidemill.protect('tidemill.scope');
select tidemill.protect('tidemill.schedule');
select tidemill.protect('tidemill.schedule_fire');
select tidemill.protect('public.system_job_locks');

revoke all on function tidemill.acquire_lock(text, text, interval, uuid), tidemill.release_lock(text, text),
  tidemill.fence(bigint, bigint, bigint), tidemill.add_counts(jsonb, jsonb),
  tidemill.enqueue_closing(uuid, text, int, int, jsonb, uuid), tidemill.intern_kind(text), tidemill.intern_queue(text),
  public.acquire_system_job_lock(text, integer), public.release_system_job_lock(text)
from public, anon, authenticated;
grant execute on function public.acquire_system_job_lock(text, integer), public.release_system_job_lock(text) to service_role;
grant select, insert, update, delete on public.system_job_locks to service_role;

insert into tidemill.schema_migrations (version, name) values ('20261122000200', 'engine') on conflict do nothing;
