-- Called by: the demo. Index: none; a row per process. Parameters: none.
select id, expires_at from tidemill.node where expires_at > clock_timestamp()
