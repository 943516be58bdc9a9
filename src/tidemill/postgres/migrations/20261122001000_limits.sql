-- Limits that hold over the whole fleet: how many jobs of a queue, a kind, a tenant or an argument's value run at a time, and how many
-- begin within a span of time. And weights, which give a tenant a larger share.
--
-- Jobs under no limit meet none of this. A job under a limit is moved aside by the first claim that comes across it, into a lane
-- of its sort (below zero), and the lane is told of in flow_wake. claim_limited gives such jobs out under a lock on their limits, and
-- parks lanes that have no room, so that nobody looks at them again until room is made:
--
--   job_ready, lane >= 0 ──claim──▶ job_ready, lane < 0 ──claim_limited──▶ job_lease
--                            └────▶ flow_wake ──▶ flow
--
-- What runs is counted from the leases, in a statement that begins after the lock was had: there is no counter to drift or to repair.

create table if not exists tidemill.job_limit (
  id int generated always as identity primary key,
  queue int,
  kind int,
  tenant uuid,
  per text not null default '' check (per in ('', 'tenant') or per like 'args.%' and length(per) between 6 and 205),
  what text not null check (what in ('concurrency', 'rate')),
  most int not null check (most >= 0),
  per_s double precision check ((what = 'rate') = (per_s is not null)) check (per_s between 1 and 86400),
  declared boolean not null default false,
  set_by text not null check (length(set_by) between 1 and 200),
  set_at timestamptz not null default clock_timestamp(),
  unique nulls not distinct (queue, kind, tenant, per, what),
  check (per not like 'args.%' or kind is not null)
);
comment on table tidemill.job_limit is
  'Limits over the fleet. A job is under every limit whose queue, kind and tenant are its own or null. Rows are locked to give out jobs.';
comment on column tidemill.job_limit.id is 'Locks are taken in this order.';
comment on column tidemill.job_limit.queue is 'Interned queue; null = any.';
comment on column tidemill.job_limit.kind is 'Interned kind; null = any.';
comment on column tidemill.job_limit.tenant is 'The tenant it is for; null = any.';
comment on column tidemill.job_limit.per is 'What is counted together: all (empty), each tenant''s (tenant), or each value of an argument (args.NAME).';
comment on column tidemill.job_limit.what is 'concurrency: jobs that run at a time; rate: jobs that begin within per_s.';
comment on column tidemill.job_limit.most is 'How many; 0 = none.';
comment on column tidemill.job_limit.per_s is 'Seconds of a rate''s sliding window.';
comment on column tidemill.job_limit.declared is 'Whether it stands in an application''s code; such rows follow the code at each start.';
comment on column tidemill.job_limit.set_by is 'Who set it.';
comment on column tidemill.job_limit.set_at is 'When (clock_timestamp).';
select tidemill.protect('tidemill.job_limit');

create sequence if not exists tidemill.flow_turn;

create table if not exists tidemill.flow (
  lane bigint primary key check (lane < 0),
  queue int not null,
  kind int not null,
  tenant uuid,
  counted jsonb not null,
  turn bigint not null default nextval('tidemill.flow_turn'),
  parked_by text,
  parked_until timestamptz
) with (fillfactor = 50);
create index if not exists flow_open on tidemill.flow (queue, turn) where parked_by is null;
create index if not exists flow_parked on tidemill.flow (parked_by, turn) where parked_by is not null;
create index if not exists flow_until on tidemill.flow (queue, parked_until) where parked_until is not null;
comment on table tidemill.flow is 'Lanes of jobs under a limit: one for each queue, kind, tenant and values of the arguments that limits count by.';
comment on column tidemill.flow.lane is 'As job_ready and job_lease have it.';
comment on column tidemill.flow.queue is 'Interned queue of its jobs.';
comment on column tidemill.flow.kind is 'Interned kind of its jobs.';
comment on column tidemill.flow.tenant is 'Tenant of its jobs.';
comment on column tidemill.flow.counted is 'Hash of each argument''s value that limits of the kind count by.';
comment on column tidemill.flow.turn is 'Lanes are served in this order and go to the end of it.';
comment on column tidemill.flow.parked_by is 'Why nobody looks at it: the group that has no room (see flow_group), empty, or paused; null = it is open.';
comment on column tidemill.flow.parked_until is 'When the group of a rate has room again; one lane of the group has it for all (tidemill.now()).';
select tidemill.protect('tidemill.flow');

create table if not exists tidemill.flow_wake (
  queue int not null,
  lane bigint not null,
  kind int not null,
  tenant uuid,
  counted jsonb not null
);
create index if not exists flow_wake_queue on tidemill.flow_wake (queue);
comment on table tidemill.flow_wake is 'Lanes that jobs were moved to. Only inserted into, so that claims never wait for each other over a lane.';
comment on column tidemill.flow_wake.queue is 'See flow.';
comment on column tidemill.flow_wake.lane is 'See flow.';
comment on column tidemill.flow_wake.kind is 'See flow.';
comment on column tidemill.flow_wake.tenant is 'See flow.';
comment on column tidemill.flow_wake.counted is 'See flow.';
select tidemill.protect('tidemill.flow_wake');

create table if not exists tidemill.job_rate (
  name text not null,
  slot timestamptz not null,
  begun int not null,
  primary key (name, slot)
);
comment on table tidemill.job_rate is 'What rates have given out: jobs begun, by group and slot. A window has 60 slots.';
comment on column tidemill.job_rate.name is 'The group (see flow_group).';
comment on column tidemill.job_rate.slot is 'When the slot began (tidemill.now()).';
comment on column tidemill.job_rate.begun is 'Jobs that were begun in it.';
select tidemill.protect('tidemill.job_rate');

create table if not exists tidemill.tenant_weight (
  tenant uuid primary key,
  lane bigint not null unique,
  weight int not null check (weight between 1 and 100),
  set_by text not null check (length(set_by) between 1 and 200)
);
comment on table tidemill.tenant_weight is 'Tenants whose share of every round of claims is larger than one.';
comment on column tidemill.tenant_weight.tenant is 'The tenant.';
comment on column tidemill.tenant_weight.lane is 'Its lane (tidemill.lane_of).';
comment on column tidemill.tenant_weight.weight is 'How many shares it gets where others get one.';
comment on column tidemill.tenant_weight.set_by is 'Who set it.';
select tidemill.protect('tidemill.tenant_weight');

create index if not exists job_lease_limited on tidemill.job_lease (lane) where lane < 0;

alter table tidemill.queue add column if not exists per_process int check (per_process between 1 and 10000);
comment on column tidemill.queue.per_process is 'Jobs that each worker process runs side by side, in place of what it was started with; null = that.';


create or replace view tidemill.flow_group with (security_invoker = true) as
select f.lane, m.id as job_limit, m.what, m.most, m.per_s,
  m.id || ':' || case m.per when '' then '' when 'tenant' then f.tenant::text else coalesce(f.counted ->> m.per, '') end as name
from tidemill.flow f
join tidemill.job_limit m
  on (m.queue is null or m.queue = f.queue) and (m.kind is null or m.kind = f.kind) and (m.tenant is null or m.tenant = f.tenant)
  and (m.per <> 'tenant' or f.tenant is not null);
comment on view tidemill.flow_group is 'Which limits hold a lane, and with what it is counted together: a group is a limit and a value of what it counts by.';
revoke all on tidemill.flow_group from public, anon, authenticated, service_role;

create or replace function tidemill.counted(kind int, args jsonb) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_object_agg(m.per, hashtextextended(coalesce($2 ->> substr(m.per, 6), ''), 0)), '{}')
  from (select distinct per from tidemill.job_limit where kind = $1 and per like 'args.%') m
$$;
comment on function tidemill.counted(int, jsonb) is 'Hashes of the arguments that limits of a kind count by.';

create or replace function tidemill.limited_lane(queue int, kind int, tenant uuid, counted jsonb) returns bigint
language sql immutable set search_path = '' as $$
  select -1 - (hashtextextended(concat_ws('/', $1, $2, coalesce($3::text, ''), $4), 0) & 9223372036854775807)
$$;
comment on function tidemill.limited_lane(int, int, uuid, jsonb) is 'The lane of jobs that the same limits count alike. Two sorts that meet share one, and are bounded together.';

create or replace function tidemill.is_limited(queue int, kind int, tenant uuid) returns boolean
language sql stable set search_path = '' as $$
  select exists (
    select from tidemill.job_limit m
    where (m.queue is null or m.queue = $1) and (m.kind is null or m.kind = $2) and (m.tenant is null or m.tenant = $3)
      and (m.per <> 'tenant' or $3 is not null))
    or exists (select from tidemill.kind k where k.id = $2 and k.paused_at is not null)
$$;
comment on function tidemill.is_limited(int, int, uuid) is 'Whether a job is to be moved aside: it is under a limit, or its kind is paused.';


create or replace function tidemill.claim_limited(p_queue int, p_node bigint, p_most int)
returns table (
  id bigint, token bigint, node bigint, kind int, attempt smallint, crashes smallint, max_attempts smallint, tenant uuid, batch uuid,
  args jsonb, rank bigint, trace text, place tid, lane bigint, waited_s double precision, more boolean, wait_s double precision)
language plpgsql set search_path = '' as $$
-- Exact because every statement here that counts begins after the limits' rows were locked, and so sees all that others gave out
-- under them. Locks, in this order: the table of leases (against relane), limits, kinds (share), flow. Of two claims that want the
-- same lane one waits for the limits; finishes lock those too (share).
#variable_conflict use_column
declare
  clock timestamptz;
  v_token bigint := tidemill.new_token();
  asked bigint[];
  kinds int[];
  tenants uuid[];
  room jsonb;        -- group → jobs that may yet begin
  rates jsonb;       -- group of a rate → seconds of its window
  begun jsonb := '{}';
  shares int;
  taken int := 0;
  got int;
  quota int;
  full_group text;
  name text;
  sort record;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'claim_limited counts anew in each statement, which % does not', current_setting('transaction_isolation')
      using errcode = 'invalid_transaction_state', hint = 'Run workers with default_transaction_isolation = ''read committed''.';
  end if;
  if p_most < 1 or not exists (select from tidemill.queue q where q.id = p_queue and q.paused_at is null)
     or not exists (select from tidemill.node n where n.id = p_node and n.expires_at > clock_timestamp()) then
    return;
  end if;
  lock table tidemill.job_lease in row exclusive mode;

  select array_agg(c.lane), array_agg(distinct c.kind), array_agg(distinct c.tenant) into asked, kinds, tenants
  from (
    (select lane, kind, tenant from tidemill.flow where queue = p_queue and parked_until <= tidemill.now() order by parked_until limit 16)
    union all
    (select lane, kind, tenant from tidemill.flow where queue = p_queue and parked_by is null order by turn limit least(p_most, 64))
    union all
    (select lane, kind, tenant from tidemill.flow_wake where queue = p_queue limit 200)) c;

  perform from tidemill.job_limit m
  where (m.queue is null or m.queue = p_queue) and (m.kind is null or m.kind = any (kinds)) and (m.tenant is null or m.tenant = any (tenants))
  order by m.id for update;
  perform from tidemill.kind k where k.id = any (kinds) order by k.id for share;
  clock := tidemill.now();

  with woken as (
    delete from tidemill.flow_wake where ctid = any (array(
      select ctid from tidemill.flow_wake where queue = p_queue and lane = any (asked) for update skip locked))
    returning queue, lane, kind, tenant, counted
  )
  insert into tidemill.flow as f (lane, queue, kind, tenant, counted)
  select distinct lane, queue, kind, tenant, counted from woken order by lane
  on conflict (lane) do update set parked_by = null, parked_until = null where f.parked_by = 'empty';

  select coalesce(jsonb_object_agg(g.name, case g.what
      when 'concurrency' then g.most - coalesce(l.running, 0)
      else g.most - coalesce((select sum(r.begun) from tidemill.job_rate r
                              where r.name = g.name and r.slot > clock - make_interval(secs => g.per_s * 61 / 60)), 0) end), '{}'),
    coalesce(jsonb_object_agg(g.name, g.per_s) filter (where g.what = 'rate'), '{}')
  into room, rates
  from (select distinct g.name, g.what, g.most, g.per_s from tidemill.flow_group g where g.lane = any (asked)) g
  left join (
    select g.name, sum(l.jobs) as running
    from (select lane, count(*) as jobs from tidemill.job_lease where lane < 0 group by lane) l
    join tidemill.flow_group g on g.lane = l.lane and g.what = 'concurrency'
    group by g.name) l on l.name = g.name;

  shares := (select greatest(sum(coalesce(w.weight, 1)), 1) from tidemill.flow f left join tidemill.tenant_weight w on w.tenant = f.tenant
             where f.lane = any (asked));

  for sort in
    select f.lane, k.paused_at is not null as paused, coalesce(w.weight, 1) as weight,
      array(select g.name from tidemill.flow_group g where g.lane = f.lane) as names
    from tidemill.flow f
    join tidemill.kind k on k.id = f.kind
    left join tidemill.tenant_weight w on w.tenant = f.tenant
    where f.lane = any (asked) and (f.parked_by is null or f.parked_until <= clock)
    order by f.turn
    for update of f skip locked
  loop
    got := 0;
    quota := least(greatest(p_most * sort.weight / shares, 1), p_most - taken);
    full_group := null;
    foreach name in array sort.names loop
      if (room ->> name)::int <= quota then
        quota := greatest((room ->> name)::int, 0);  -- below zero where a limit was lowered while more were running
        full_group := name;
      end if;
    end loop;
    if sort.paused then
      quota := 0;
      full_group := 'paused';
    end if;

    if quota > 0 then
      return query
      with gone as (
        delete from tidemill.job_ready where ctid = any (array(
          select r.ctid from tidemill.job_ready r where r.queue = p_queue and r.lane = sort.lane
          order by r.rank, r.id limit quota for update skip locked))
        returning *
      ), held as (
        insert into tidemill.job_lease as l
          (id, queue, lane, rank, kind, priority, attempt, crashes, max_attempts, tenant, batch, key, enqueued_at, args,
           trace, ready_at, token, node, claimed_at)
        select g.id, g.queue, g.lane, g.rank, g.kind, g.priority, g.attempt + 1, g.crashes, g.max_attempts, g.tenant, g.batch, g.key,
          g.enqueued_at, g.args, g.trace, g.ready_at, v_token, p_node, clock_timestamp()
        from gone g
        returning l.*, l.ctid as place
      )
      select h.id, h.token, h.node, h.kind, h.attempt, h.crashes, h.max_attempts, h.tenant, h.batch, h.args, h.rank, h.trace, h.place, h.lane,
        extract(epoch from h.claimed_at - coalesce(h.ready_at, h.enqueued_at))::float8, false, null::float8
      from held h;
      get diagnostics got = row_count;
      taken := taken + got;
      foreach name in array sort.names loop
        room := jsonb_set(room, array[name], to_jsonb((room ->> name)::int - got));
        if rates ? name then
          begun := jsonb_set(begun, array[name], to_jsonb(coalesce((begun ->> name)::int, 0) + got));
        end if;
      end loop;
    end if;

    if got < quota and not exists (select from tidemill.job_ready r where r.queue = p_queue and r.lane = sort.lane) then
      if exists (select from tidemill.job_lease l where l.lane = sort.lane and l.lane < 0) then
        update tidemill.flow set parked_by = 'empty', parked_until = null where lane = sort.lane;
      else
        delete from tidemill.flow where lane = sort.lane;
      end if;
    else
      update tidemill.flow set parked_until = null, turn = case when got > 0 then nextval('tidemill.flow_turn') else turn end,
        parked_by = case when got = quota and (full_group = 'paused' or (room ->> full_group)::int <= 0) then full_group end
      where lane = sort.lane;
    end if;
    exit when taken >= p_most;
  end loop;

  clock := tidemill.now();  -- not before any of these jobs began
  insert into tidemill.job_rate as r (name, slot, begun)
  select b.key, date_bin(make_interval(secs => (rates ->> b.key)::float8 / 60), clock, timestamptz '2000-01-01Z'), b.value::int
  from jsonb_each_text(begun) b where b.value::int > 0
  on conflict (name, slot) do update set begun = r.begun + excluded.begun;
  delete from tidemill.job_rate r using jsonb_each_text(rates) t
  where r.name = t.key and r.slot <= clock - make_interval(secs => t.value::float8 * 61 / 60);

  -- Where room is left, lanes that wait for it are opened; where a rate has none, one lane keeps the time for all.
  update tidemill.flow set parked_by = null, parked_until = null
  where lane in (
    select f.lane from jsonb_each_text(room) g
    cross join lateral (
      select lane from tidemill.flow where parked_by = g.key order by turn limit greatest(g.value::int, 0)) f);
  update tidemill.flow f
  set parked_until = (select min(r.slot) from tidemill.job_rate r where r.name = t.key) + make_interval(secs => t.value::float8 * 61 / 60)
  from jsonb_each_text(rates) t
  where f.lane = (select lane from tidemill.flow where parked_by = t.key order by turn limit 1)
    and (room ->> t.key)::int <= 0
    and not exists (select from tidemill.flow w where w.parked_by = t.key and w.parked_until is not null);

  return query select null::bigint, null::bigint, null::bigint, null::int, null::smallint, null::smallint, null::smallint, null::uuid,
    null::uuid, null::jsonb, null::bigint, null::text, null::tid, null::bigint, null::float8,
    exists (select from tidemill.flow where queue = p_queue and parked_by is null)
      or exists (select from tidemill.flow_wake where queue = p_queue),
    (select extract(epoch from min(parked_until) - clock)::float8 from tidemill.flow where queue = p_queue and parked_until is not null);
end
$$;
comment on function tidemill.claim_limited(int, bigint, int) is
  'Leases up to p_most jobs of a queue that are under a limit, then one row without a job: whether to look again at once, and when a rate has room.';

create or replace function tidemill.hold_limits(lanes bigint[]) returns void
language plpgsql set search_path = '' as $$
begin
  lock table tidemill.job_lease in row exclusive mode;
  perform from tidemill.job_limit m
  where m.id in (select job_limit from tidemill.flow_group where lane = any (lanes))
  order by m.id for share;
end
$$;
comment on function tidemill.hold_limits(bigint[]) is
  'Before the leases of such lanes end: keeps claims from parking a lane for want of the room that is being made.';

create or replace function tidemill.open_lanes(lanes bigint[]) returns void
language sql set search_path = '' as $$
  with room as (
    select g.name, count(*) as jobs
    from unnest(lanes) as e (lane) join tidemill.flow_group g on g.lane = e.lane and g.what = 'concurrency'
    group by g.name
  ), wanted as materialized (
    select f.lane from room cross join lateral (
      select lane from tidemill.flow where parked_by = room.name order by turn limit room.jobs for update skip locked) f
  ), opened as (
    update tidemill.flow set parked_by = null, parked_until = null where lane in (select lane from wanted) returning queue
  )
  select pg_notify('tidemill_job', queue::text) from (
    select distinct queue from opened union select queue from tidemill.flow where lane = any (lanes) and parked_by is null) q
$$;
comment on function tidemill.open_lanes(bigint[]) is
  'After leases of these lanes ended (a lane once for each): opens as many lanes that waited for the room, and wakes the workers.';

create or replace function tidemill.relane(p_kinds int[] default '{}') returns void
language plpgsql set search_path = '' as $$
-- After a change of limits, in its transaction, which holds the table of leases: no claim is under way.
begin
  with sorts as materialized (
    select l.id, l.queue, l.kind, l.tenant, tidemill.counted(l.kind, l.args) as counted
    from tidemill.job_lease l where tidemill.is_limited(l.queue, l.kind, l.tenant)
  ), laned as materialized (
    select *, tidemill.limited_lane(queue, kind, tenant, counted) as lane from sorts
  ), known as (
    insert into tidemill.flow (lane, queue, kind, tenant, counted)
    select distinct lane, queue, kind, tenant, counted from laned
    on conflict do nothing
  )
  update tidemill.job_lease l set lane = n.lane from laned n where l.id = n.id and l.lane <> n.lane;
  -- Jobs that were laned by other arguments are sorted again.
  update tidemill.job_ready set lane = tidemill.lane_of(tenant) where lane < 0 and kind = any (p_kinds);
  update tidemill.flow set parked_by = null, parked_until = null where parked_by is not null;
  perform pg_notify('tidemill_job', '');
end
$$;
comment on function tidemill.relane(int[]) is
  'Makes a change of limits hold for what runs, and has every lane looked at again. p_kinds: those whose limits count by other arguments now.';

create or replace function tidemill.set_limit(
  p_queue int, p_kind int, p_tenant uuid, p_per text, p_what text, p_most int, p_per_s double precision, p_declared boolean, p_by text)
returns int language plpgsql set search_path = '' set lock_timeout = '5s' as $$
declare
  v_id int;
  before jsonb;
begin
  lock table tidemill.job_lease in share row exclusive mode;
  before := tidemill.counted(p_kind, '{}');
  insert into tidemill.job_limit as m (queue, kind, tenant, per, what, most, per_s, declared, set_by)
  values (p_queue, p_kind, p_tenant, p_per, p_what, p_most, p_per_s, p_declared, p_by)
  on conflict (queue, kind, tenant, per, what) do update
    set most = excluded.most, per_s = excluded.per_s, declared = excluded.declared, set_by = excluded.set_by, set_at = clock_timestamp()
  returning id into v_id;
  perform tidemill.relane(case when before <> tidemill.counted(p_kind, '{}') then array[p_kind] else '{}' end);
  return v_id;
end
$$;
comment on function tidemill.set_limit(int, int, uuid, text, text, int, double precision, boolean, text) is
  'Sets a limit over the fleet, or changes it, and answers its id.';

create or replace function tidemill.drop_limit(p_id int) returns boolean
language plpgsql set search_path = '' set lock_timeout = '5s' as $$
declare
  v_kind int;
  before jsonb;
begin
  lock table tidemill.job_lease in share row exclusive mode;
  select kind, tidemill.counted(kind, '{}') into v_kind, before from tidemill.job_limit where id = p_id;
  delete from tidemill.job_limit where id = p_id;
  if not found then
    return false;
  end if;
  perform tidemill.relane(case when before <> tidemill.counted(v_kind, '{}') then array[v_kind] else '{}' end);
  return true;
end
$$;
comment on function tidemill.drop_limit(int) is 'Takes a limit away; whether there was one.';

create or replace function tidemill.resume_kind(p_name text) returns int
language plpgsql set search_path = '' as $$
-- The claims that park its lanes share its row: what they parked before the update is seen after it.
declare
  v_kind int;
begin
  update tidemill.kind set paused_at = null, paused_by = null where name = p_name returning id into v_kind;
  update tidemill.flow set parked_by = null, parked_until = null where kind = v_kind and parked_by = 'paused';
  perform pg_notify('tidemill_job', '');
  return v_kind;
end
$$;
comment on function tidemill.resume_kind(text) is 'Gives out jobs of a kind again and wakes the workers; null when there is no such kind.';

revoke all on function tidemill.counted(int, jsonb), tidemill.limited_lane(int, int, uuid, jsonb), tidemill.is_limited(int, int, uuid),
  tidemill.claim_limited(int, bigint, int), tidemill.hold_limits(bigint[]), tidemill.open_lanes(bigint[]), tidemill.relane(int[]),
  tidemill.set_limit(int, int, uuid, text, text, int, double precision, boolean, text), tidemill.drop_limit(int), tidemill.resume_kind(text)
from public, anon, authenticated, service_role;

insert into tidemill.schema_migrations (version, name) values ('20261122001000', 'limits') on conflict do nothing;
