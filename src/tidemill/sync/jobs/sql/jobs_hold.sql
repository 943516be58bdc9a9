-- Called by: Asked.take_up, first in its transaction. Index: sync_jobs_pkey.
-- Fence: the jobs are held before their runs, as everybody does; what somebody else is at is left to them. Parameter: jobs.
select id from public.sync_jobs where id = any ($1::uuid[]) order by id for no key update skip locked
