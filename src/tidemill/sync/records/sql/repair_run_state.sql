-- Called by: RepairRecords: sync jobs of a connector that say something else than their open runs do.
-- Index: idx_sync_jobs_connector, sync_run_logs_open. Parameters: company, connector.
select s.id from (
    select j.id, j.run_state, case
        when exists (select from public.sync_run_logs as r where r.job_id = j.id and r.status = 'running') then 'running'
        when exists (select from public.sync_run_logs as r where r.job_id = j.id and r.status = 'pending') then 'queued'
        else 'idle' end as due
    from public.sync_jobs as j
    where j.company_id = $1 and j.connector_id = $2
) as s
where s.run_state <> s.due
order by s.id
