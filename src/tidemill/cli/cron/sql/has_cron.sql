-- Called by: cron install --remove. The catalogue. Parameters: none.
select exists (select from pg_extension where extname = 'pg_cron')
