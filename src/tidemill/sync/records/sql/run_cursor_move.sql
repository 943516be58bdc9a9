-- Called by: OwnCursor, with the batch before the cursor. Index: run_cursor_pkey. Parameters: run, stream, cursor.
-- Fence: the caller's transaction, which only the run's own job can open.
insert into tidemill.run_cursor (run, stream, cursor) values ($1, $2, $3)
on conflict (run, stream) do update set cursor = excluded.cursor
