-- Called by: doctor. Parameters: none.
select pg_backend_pid()
