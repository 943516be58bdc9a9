-- Locks accounts, so that nobody writes their layers until the transaction ends: what is read after it is settled.
-- Called by: repair_account_insights, before account_insights_repair.sql. Index: primary key. Fence: the caller's transaction.
-- Parameters: account ids.
select id from public.workspace_threads_accounts where id = any ($1::uuid[]) order by id for no key update
