-- What operators watch: which version a process runs and what it serves, how long a job may take, how the last hour went.

alter table tidemill.node
  add column if not exists version text, add column if not exists ttl interval, add column if not exists queues text[];
comment on column tidemill.node.version is 'Tidemill''s version in that process; NULL = older than this column.';
comment on column tidemill.node.ttl is 'What a heartbeat adds: expires_at less this is the last one.';
comment on column tidemill.node.queues is 'Names of the queues that it claims from.';

alter table tidemill.kind add column if not exists timeout interval;
comment on column tidemill.kind.timeout is 'What one attempt may take, as an application declared it; NULL until one has.';

alter table tidemill.job_ready add column if not exists ready_at timestamptz;
comment on column tidemill.job_ready.ready_at is
  'Since when it may start (tidemill.now()), for a job that was delayed, tried or given back before; NULL = since its enqueue.';
alter table tidemill.job_lease add column if not exists ready_at timestamptz;
comment on column tidemill.job_lease.ready_at is 'Since when it might have been claimed; NULL = since its enqueue.';

-- Few rows stand in these, however many schedules there are.
create index if not exists schedule_broken on tidemill.schedule (name) where error is not null;
create index if not exists schedule_paused on tidemill.schedule (name) where paused_by is not null;

create or replace function tidemill.recent_runs(since timestamptz, most_blocks bigint)
returns table (outcome text, finished_at timestamptz, is_cut boolean)
language plpgsql stable
set search_path = ''
set constraint_exclusion = on -- a partition that ends before since is not opened
as $$
-- History is only ever appended to, so its latest rows are in the last blocks: no index is needed, and the cost is bounded.
declare
  part   record;
  from_block bigint;
begin
  for part in
    select t.relid, pg_relation_size(t.relid) / current_setting('block_size')::bigint as blocks
    from pg_partition_tree('tidemill.job_run') t where t.isleaf
  loop
    continue when part.blocks = 0;
    from_block := greatest(part.blocks - most_blocks, 0);
    return query execute format(
      'select r.outcome, r.finished_at, $1 > 0 from %s r where r.ctid >= %L and r.finished_at >= %L',
      part.relid::regclass, format('(%s,0)', from_block), since) using from_block;
  end loop;
end $$;
comment on function tidemill.recent_runs(timestamptz, bigint) is
  'Attempts that ended since an instant, from the last blocks of each partition. is_cut: older ones were left out of that partition.';
revoke all on function tidemill.recent_runs(timestamptz, bigint) from public, anon, authenticated;

insert into tidemill.schema_migrations (version, name) values ('20261122001200', 'watch') on conflict do nothing;
