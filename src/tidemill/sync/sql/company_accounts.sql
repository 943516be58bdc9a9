-- Called by: the repair of a company's accounts, a page at a time. Index: workspaces' (company_id, id), accounts by workspace.
-- Fence: none; it only looks. Parameters: company, workspaces (null = all of its), after id (null = first), limit.
select a.id, a.username
from public.workspaces w
join public.workspace_threads_accounts a on a.workspace_id = w.id
where w.company_id = $1 and ($2::uuid[] is null or w.id = any ($2)) and ($3::uuid is null or a.id > $3)
order by a.id
limit $4
