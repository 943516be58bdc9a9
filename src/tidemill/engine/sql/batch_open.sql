-- Called by: Batches.open. Index: none. Fence: the caller's transaction.
-- Parameters: id (null = drawn), close kind, close queue, close args as JSON text, deadline, tenant, trace.
insert into tidemill.batch (id, close_kind, close_queue, close_args, deadline, tenant, trace)
values (coalesce($1, gen_random_uuid()), $2, $3, $4::text::jsonb, $5, $6, $7)
returning id
