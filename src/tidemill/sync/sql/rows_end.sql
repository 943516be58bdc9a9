-- Called by: on_orphan of an account's job, and an account's job that has nothing to run: closes what is open.
-- Index: unique (run_id, account, job_type). Fence: the caller's transaction.
-- Parameters: runs, accounts (pairwise), statuses, reasons, errors.
update public.sync_logs l
set status = o.status, reason = o.reason, error_message = o.error, completed_at = clock_timestamp()
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[]) as o (run, account, status, reason, error)
where l.run_id = o.run and l.workspace_threads_account_id = o.account and l.status in ('pending', 'running')
