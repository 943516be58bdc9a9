-- Called by: cron status. The catalogue. Parameters: none.
select to_regclass('net._http_response') is not null
