-- Called by: tidemill run. Index: none; the table has a row per process. Parameters: none.
select count(*) from tidemill.node where expires_at > clock_timestamp()
