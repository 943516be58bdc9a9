-- Called by: doctor. Index: none; the catalogue. Parameters: none.
-- Parents without a partition for the current month (UTC): of the slot's clock, or of the real one for finished jobs.
select wanted.name
from (values
  ('workspace_threads_post_metrics', (select tidemill.now())),
  ('workspace_threads_account_insights', (select tidemill.now())),
  ('job_run', clock_timestamp())
) as parent (name, at)
cross join lateral (
  select format('tidemill.%s_%s', parent.name, to_char(parent.at at time zone 'UTC', 'YYYYMM')) as name
) wanted
where to_regclass(wanted.name) is null
order by 1
