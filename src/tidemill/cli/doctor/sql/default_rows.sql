-- Called by: doctor. Index: none; each stops at the first row. Parameters: none.
-- DEFAULT partitions that took rows. They are empty while partitions are made in time.
select name from (values
  ('job_run_default', exists (select from tidemill.job_run_default)),
  ('workspace_threads_post_metrics_default', exists (select from tidemill.workspace_threads_post_metrics_default)),
  ('workspace_threads_account_insights_default', exists (select from tidemill.workspace_threads_account_insights_default))
) as spare (name, is_used)
where is_used order by name
