-- Called by: resume_queue; has the workers look for everything that waits. Index: unique name. Fence: none. Parameters: name.
with resumed as (
  update tidemill.queue set paused_at = null, paused_by = null where name = $1 returning id
)
select id, pg_notify('tidemill_job', '') from resumed
