-- Called by: the demo's audit. Index: unique (run_id, account, job_type). Parameters: run.
-- Each account's outcome from its three rows alone, with every reason they give.
select a.username,
  case when count(*) filter (where l.status = 'completed') = count(*) then 'completed'
    when count(*) filter (where l.status = 'skipped') = count(*) then 'skipped'
    when count(*) filter (where l.status in ('completed', 'partial')) > 0 then 'partial'
    else 'failed' end as status,
  coalesce(array_agg(distinct l.reason) filter (where l.reason is not null), '{}') as reasons
from public.sync_logs l join public.workspace_threads_accounts a on a.id = l.workspace_threads_account_id
where l.run_id = $1
group by a.username order by a.username
