-- Called by: Firing.fire, for rows whose fires cannot be told any more; editing them plans them anew. Index: sync_jobs_pkey.
-- Fence: compare-and-set on the fire and the version. Parameters, as arrays: job, next fire as it was read, version, what is wrong.
update public.sync_jobs j set plan_error = u.plan_error, next_run_at = null
from unnest($1::uuid[], $2::timestamptz[], $3::int[], $4::text[]) as u (id, seen_at, version, plan_error)
where j.id = u.id and j.next_run_at = u.seen_at and j.version = u.version
returning j.id
