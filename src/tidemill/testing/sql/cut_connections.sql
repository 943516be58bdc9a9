-- Called by: template, once nobody can connect any more. Index: none. Fence: none.
-- Parameters: name of the database. They are a pool's that the application's own migrations left open.
select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1::text and backend_type = 'client backend'
