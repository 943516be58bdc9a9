-- Called by: DELETE /connectors/{id}, inside tenant_session(): row security decides. Index: primary key.
-- Fence: connector_lock, in this transaction; the jobs' foreign key refuses while there are any. Parameters: id.
delete from public.integration_connectors where id = $1 returning true
