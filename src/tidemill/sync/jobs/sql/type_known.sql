-- Called by: SyncJobSource.tick, every few seconds. Index: sync_job_type_pkey; what a node said just now is not said again.
-- Fence: none; in order, so that two that say the same never meet crosswise. Parameters: job types that this process knows, seconds
-- for which what was said is new.
insert into tidemill.sync_job_type as t (name)
select n from unnest($1::text[]) as n order by n
on conflict (name) do update set known_at = clock_timestamp()
where t.known_at < clock_timestamp() - make_interval(secs => $2)
