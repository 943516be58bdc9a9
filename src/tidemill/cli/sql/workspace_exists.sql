-- Called by: tidemill accounts. Parameters: workspace, as its id or name.
select exists (select from public.workspaces where deleted_at is null and (name = $1 or id::text = lower($1)))
