-- Called by: forget_cursors, when a replay or repair has come to its end. Index: run_cursor_pkey. Parameters: run.
-- Fence: the caller's transaction.
delete from tidemill.run_cursor where run = $1
