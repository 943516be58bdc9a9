-- Called by: the demo, at its start, on a database of its own with no worker alive. Index: none; all rows go.
-- Snapshots, posts, accounts and their logs go with their workspaces; connectors, sync jobs, runs and records with their companies.
-- Parameters: none.
with w as (delete from public.workspaces), o as (delete from public.companies), u as (delete from auth.users where email like '%.demo.example'),
  l as (delete from public.system_job_logs), k as (delete from public.system_job_locks),
  r as (delete from tidemill.job_ready), d as (delete from tidemill.job_delayed), e as (delete from tidemill.job_lease),
  h as (delete from tidemill.job_run), x as (delete from tidemill.job_dead), q as (delete from tidemill.unique_key),
  b as (delete from tidemill.batch), s as (delete from tidemill.budget), f as (delete from tidemill.schedule_fire),
  c as (delete from tidemill.schedule), n as (delete from tidemill.node)
select 1
