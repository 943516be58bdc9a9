-- Called by: OwnCursor, when a stream is begun. Index: run_cursor_pkey. Parameters: run, stream.
select cursor from tidemill.run_cursor where run = $1 and stream = $2
