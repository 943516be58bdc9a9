-- Called by: Planning.plan, a chunk a statement. Index: sync_jobs_pkey, companies_pkey.
-- Fence: compare-and-set on the version, the fire that was planned and the company's zone; the share of the company's row makes
-- a change of its zone or status wait, which then has all of its jobs planned anew, or suspended. A row that somebody is changing is planned later.
-- Parameters, as arrays: job, its version, its next fire as it was read, its company's zone; the next fire now, what is wrong.
with seen as materialized (
  select u.id, u.next_run_at, u.plan_error, c.status
  from unnest($1::uuid[], $2::int[], $3::timestamptz[], $4::text[], $5::timestamptz[], $6::text[])
    as u (id, version, seen_at, zone, next_run_at, plan_error)
  cross join lateral (
    select version, next_run_at, company_id from public.sync_jobs where id = u.id offset 0 for no key update skip locked
  ) j
  cross join lateral (
    select timezone, status from public.companies where id = j.company_id offset 0 for share skip locked
  ) c
  where j.version = u.version and j.next_run_at is not distinct from u.seen_at and c.timezone is not distinct from u.zone
)
update public.sync_jobs j
set planned_version = j.version, next_run_at = s.next_run_at, plan_error = s.plan_error,
  suspended_at = case when s.status <> 'active' then coalesce(j.suspended_at, tidemill.now()) end
from seen s where j.id = s.id
returning j.id
