-- What jobs say of themselves while they run, and for how long what they leave behind is kept.

create table if not exists tidemill.job_progress (
  job bigint primary key,
  token bigint not null,
  done bigint not null check (done >= 0),
  total bigint check (total >= 0),
  note text check (length(note) <= 500),
  said_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on table tidemill.job_progress is
  'How far running jobs have got, if they say so. Holds for the attempt whose lease has the same token; gone with the attempt''s end.';
comment on column tidemill.job_progress.job is 'The job.';
comment on column tidemill.job_progress.token is 'The lease''s: what another attempt said counts for nothing.';
comment on column tidemill.job_progress.done is 'How much is done, in the handler''s own units.';
comment on column tidemill.job_progress.total is 'Of how much; null = unknown.';
comment on column tidemill.job_progress.note is 'The handler''s words.';
comment on column tidemill.job_progress.said_at is 'When it was written (clock_timestamp), at most a second after it was said.';
select tidemill.protect('tidemill.job_progress');

-- Retention -----------------------------------------------------------------------------------------------------------
-- History is dropped a partition at a time. Detaching locks the parent, so it waits a moment at most and commits at once; what is
-- detached is dropped in a transaction of its own, which locks nothing that anybody uses.

create or replace function tidemill.partitions_of(parent regclass)
returns table (partition regclass, starts_at timestamptz, ends_at timestamptz)
language sql stable
set search_path = ''
set datestyle = 'ISO'
as $$
    select c.oid::regclass, b.bounds[1]::timestamptz, b.bounds[2]::timestamptz
    from pg_inherits as i
    join pg_class as c on c.oid = i.inhrelid
    cross join lateral (
        select regexp_match(pg_get_expr(c.relpartbound, c.oid), '^FOR VALUES FROM \(''(.+)''\) TO \(''(.+)''\)$') as bounds
    ) as b
    where i.inhparent = parent and b.bounds is not null
    order by 2
$$;
comment on function tidemill.partitions_of(regclass) is 'The partitions by time of a table, without the DEFAULT one: from when (inclusive) until when (exclusive).';

create or replace function tidemill.detach_history(before timestamptz) returns setof text
language plpgsql security definer
set search_path = ''
set lock_timeout = '200ms' -- while it waits, whatever ends a job waits behind it
as $$
declare
    old record;
begin
    perform pg_advisory_xact_lock(hashtextextended('tidemill.ensure_partitions', 0));
    for old in select p.partition from tidemill.partitions_of('tidemill.job_run') as p where p.ends_at <= before loop
        execute format('alter table tidemill.job_run detach partition %s', old.partition);
        return next old.partition::text;
    end loop;
end
$$;
comment on function tidemill.detach_history(timestamptz) is
    'Takes the partitions out of job_run that hold nothing from this instant on, and returns them. Raises 55P03 when the table is in use.';

create or replace function tidemill.drop_detached_history() returns setof text
language plpgsql security definer
set search_path = ''
set lock_timeout = '200ms'
as $$
declare
    old regclass;
begin
    perform pg_advisory_xact_lock(hashtextextended('tidemill.ensure_partitions', 0));
    for old in
        select oid from pg_class
        where relnamespace = 'tidemill'::regnamespace and relkind = 'r' and not relispartition and relname ~ '^job_run_[0-9]{4}w?[0-9]{2}$'
        order by relname
    loop
        execute format('drop table %s', old);
        return next old::text;
    end loop;
end
$$;
comment on function tidemill.drop_detached_history() is 'Drops what detach_history took out, and returns it. Raises 55P03 when somebody still reads it.';

create or replace function tidemill.forget_lanes(most int) returns int
language plpgsql
set search_path = ''
as $$
-- Two statements: jobs of a lane are given out under a lock on its row, so only what is looked at after the lock was had is so.
declare
    idle bigint[] := array(
        select f.lane from tidemill.flow as f
        where f.parked_by = 'empty' and not exists (select from tidemill.job_lease as l where l.lane = f.lane and l.lane < 0)
        limit most for update skip locked);
    forgotten int;
begin
    delete from tidemill.flow as f
    where f.lane = any (idle) and f.parked_by = 'empty'
      and not exists (select from tidemill.job_lease as l where l.lane = f.lane and l.lane < 0);
    get diagnostics forgotten = row_count;
    return forgotten;
end
$$;
comment on function tidemill.forget_lanes(int) is 'Deletes lanes of flow that have neither jobs that wait nor jobs that run, so many at most, and returns how many.';

revoke all on function tidemill.partitions_of(regclass), tidemill.detach_history(timestamptz), tidemill.drop_detached_history(),
    tidemill.forget_lanes(int)
from public, anon, authenticated;
grant execute on function tidemill.partitions_of(regclass), tidemill.detach_history(timestamptz), tidemill.drop_detached_history()
to service_role;

create index if not exists batch_closed on tidemill.batch (closed_at) where state = 'closed';
create index if not exists schedule_fire_at on tidemill.schedule_fire using brin (fire_at);

insert into tidemill.schema_migrations (version, name) values ('20261122001100', 'history') on conflict do nothing;
