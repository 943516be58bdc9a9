-- Called by: whoever draws a run's progress. Index: batch_pkey. Parameters: run.
select b.total, b.finished, b.state from tidemill.batch b join public.system_job_logs l on l.batch_id = b.id where l.id = $1
