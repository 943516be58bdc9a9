-- Called by: cron install and status. The catalogue. Parameters: none.
-- pg_net is told by its function, so that anything that offers the same will do.
select exists (select from pg_extension where extname = 'pg_cron') as cron,
  exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
          where n.nspname = 'net' and p.proname = 'http_post') as net,
  coalesce(current_setting('cron.timezone', true), 'GMT') as zone
