-- Called by: cancel_batches, first. Index: batch_pkey.
-- Fence: locks them, in order, against their deadlines and the endings of their members. Parameters: batches.
select id from tidemill.batch where id = any ($1::uuid[]) and state in ('open', 'sealed') order by id for no key update
