-- Called by: cron install, in its transaction. pg_cron replaces a job of the same name. Parameters: job, cron expression.
select cron.schedule($1, $2, $$select public.trigger_edge_function('scheduled-sync')$$)
