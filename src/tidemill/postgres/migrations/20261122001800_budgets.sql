-- Budgets of calls to the outside: how many may be made in a span of time, and pauses, over the whole fleet. Takes the place of
-- tidemill.scope, which knew pauses alone.

create table if not exists tidemill.budget (
  scope text primary key check (length(scope) between 1 and 300),
  most int check (most between 1 and 1000000),
  per_s double precision check (per_s between 1 and 86400),
  declared boolean not null default false,
  set_by text check (length(set_by) between 1 and 200),
  leased int[] not null default '{}',
  slot bigint not null default 0,
  slot_s double precision not null default 1,
  blocked_until timestamptz,
  reason text,
  share real check (share > 0 and share < 1),
  slow_until timestamptz,
  updated_at timestamptz not null default clock_timestamp(),
  check ((most is null) = (per_s is null)),
  check (most is null or set_by is not null),
  check (not declared or set_by is not null),
  check ((blocked_until is null) = (reason is null)),
  check ((share is null) = (slow_until is null))
) with (fillfactor = 50);
create index if not exists budget_set on tidemill.budget (scope) where set_by is not null;
create index if not exists budget_blocked on tidemill.budget (blocked_until) where blocked_until is not null;
comment on table tidemill.budget is
  'Budgets of calls to the outside, by scope: how many may be made in a span of time, and until when none may.';
comment on column tidemill.budget.scope is
  'E.g. stripe, threads:app:1234. One that ends in :* is for each scope that begins so and has nothing of its own set; those have rows too.';
comment on column tidemill.budget.most is 'Calls that may be made within per_s; null = they are not counted here.';
comment on column tidemill.budget.per_s is 'Seconds of the sliding window.';
comment on column tidemill.budget.declared is 'Whether it stands in an application''s code; such rows follow the code at each start.';
comment on column tidemill.budget.set_by is 'Who set it; null = nobody, the row is there by use or for a pause alone.';
comment on column tidemill.budget.leased is 'Calls given out, by slot, the newest slot first. A window has 20 slots, 22 are kept.';
comment on column tidemill.budget.slot is 'Number of the newest slot: tidemill.now(), as seconds since 1970, by slot_s.';
comment on column tidemill.budget.slot_s is 'Seconds of a slot, when calls were last given out.';
comment on column tidemill.budget.blocked_until is 'No call before then (tidemill.now()). A shorter block never shortens a longer one.';
comment on column tidemill.budget.reason is 'Why it is blocked: what the provider said, or who paused it.';
comment on column tidemill.budget.share is 'The part of the budget that may be used, since the provider said it runs out.';
comment on column tidemill.budget.slow_until is 'Until when that holds (tidemill.now()).';
comment on column tidemill.budget.updated_at is 'clock_timestamp.';
select tidemill.protect('tidemill.budget');

do $$
begin
  if to_regclass('tidemill.scope') is not null then
    insert into tidemill.budget (scope, blocked_until, reason, updated_at)
    select name, blocked_until, reason, updated_at from tidemill.scope on conflict do nothing;
    drop table tidemill.scope;
  end if;
end
$$;


create or replace function tidemill.slots_on(leased int[], slots bigint) returns int[]
language sql immutable set search_path = '' as $$
  select array_fill(0, array[n]) || leased[1:22 - n] from (select greatest(least(slots, 22), 0)::int as n) s
$$;
comment on function tidemill.slots_on(int[], bigint) is
  'Calls given out, as they stand so many slots later; none later than none, for a clock that was set back.';

create or replace function tidemill.lease_budget(
  p_scope text, p_patterns text[], p_need int, p_want int, p_now timestamptz default null)
returns table (
  is_known boolean, most int, per_s double precision, granted int, good_s double precision, wait_s double precision, blocked_s double precision,
  reason text, share real)
language plpgsql set search_path = '' as $$
-- Calls leased at one instant may be made for good_s from then on, which is no longer than a slot. So those made within per_s were
-- leased within less than 21 slots, which touch 22 at most; and 22 slots never hold more than most. The clock is read after the row
-- was locked: of two leases the later one has the later instant. p_now is for who replays what happened; null = tidemill.now().
#variable_conflict use_column
declare
  names text[] := p_scope || p_patterns;
  held tidemill.budget;
  clock timestamptz;
  width double precision;
  now_slot bigint;
  used int;
  allowed int;
begin
  is_known := false;
  granted := 0;
  select true, b.most, b.per_s into is_known, most, per_s
  from tidemill.budget b where b.scope = any (names) and b.set_by is not null
  order by b.scope = p_scope desc, length(b.scope) desc limit 1;
  if not coalesce(is_known, false) then
    is_known := false;
    return next;
    return;
  end if;
  if most is not null then
    select * into held from tidemill.budget b where b.scope = p_scope for update;
    if not found then
      insert into tidemill.budget (scope) values (p_scope) on conflict (scope) do nothing;
      select * into held from tidemill.budget b where b.scope = p_scope for update;
    end if;
  end if;
  clock := coalesce(p_now, tidemill.now());

  select extract(epoch from b.blocked_until - clock), b.reason into blocked_s, reason
  from tidemill.budget b where b.scope = any (names) and b.blocked_until > clock
  order by b.blocked_until desc limit 1;
  select min(b.share) into share
  from tidemill.budget b where b.scope = any (names) and b.slow_until > clock;
  if blocked_s is not null or most is null or p_need > most then
    return next;
    return;
  end if;

  now_slot := floor(extract(epoch from clock) / held.slot_s);
  if now_slot < held.slot then
    -- The clock was set back. From here on time passes again; what was given out counts as if it were now.
    update tidemill.budget b set slot = now_slot where b.scope = p_scope;
  end if;
  held.leased := tidemill.slots_on(held.leased, now_slot - held.slot);
  select coalesce(sum(n), 0) into used from unnest(held.leased) n;
  width := per_s / 20;
  if held.slot_s <> width then
    now_slot := floor(extract(epoch from clock) / width);
    held.leased := array[used];  -- of another window: when exactly is not known any more, so as late as may be
  end if;
  allowed := greatest(floor(most * coalesce(share, 1)), p_need);  -- what needs all of a budget gets it once, however low that is
  if used + p_need <= allowed then
    granted := least(greatest(p_want, p_need), allowed - used);
    held.leased[1] := coalesce(held.leased[1], 0) + granted;
    good_s := least(width, 2);
    update tidemill.budget b
    set leased = held.leased, slot = now_slot, slot_s = width, updated_at = clock_timestamp() where b.scope = p_scope;
  else
    select (now_slot + min(later)) * width - extract(epoch from clock) into wait_s
    from generate_series(1, 22) later
    where (select coalesce(sum(n), 0) from unnest(held.leased[1:22 - later]) n) + p_need <= allowed;
  end if;
  return next;
end
$$;
comment on function tidemill.lease_budget(text, text[], int, int, timestamptz) is
  'Gives a process calls of a budget to make, as many as it needs or some more, or says why not and for how long.';

revoke all on function tidemill.slots_on(int[], bigint), tidemill.lease_budget(text, text[], int, int, timestamptz)
from public, anon, authenticated, service_role;

insert into tidemill.schema_migrations (version, name) values ('20261122001800', 'budgets') on conflict do nothing;
