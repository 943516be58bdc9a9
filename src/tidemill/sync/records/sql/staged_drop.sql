-- Called by: Ledger, when a stream is begun anew, has given up, or has brought out what it staged.
-- Parameters: run, stream. Index: staged_record_pkey. Fence: the caller's transaction.
delete from tidemill.staged_record where run = $1 and stream = $2
