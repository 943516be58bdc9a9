-- Whether a run was started by the caller and concerns an account that he still sees.
-- Called by: RunStates, inside tenant_session(). A scheduled run has rows in many tenants' logs and its results name
--   them all, so that a visible row alone must not be enough.
-- Index: sync_logs (run_id, …), its unique key.
-- Fence: none, it reads.
select exists (
    select
    from public.sync_logs as l
    where l.run_id = $1
      and l.triggered_by = (select auth.uid())
)
