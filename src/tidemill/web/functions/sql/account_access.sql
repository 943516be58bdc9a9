-- Whether the caller may sync an account; no row when the account is not in a workspace that he can see.
-- Called by: ManualSync, inside tenant_session(), so row-level security answers for the caller.
-- Index: workspace_threads_accounts' primary key.
-- Fence: none, it reads; the sync room takes the account's lease.
select public.is_workspace_editor(a.workspace_id) as may_sync
from public.workspace_threads_accounts as a
where a.id = $1
