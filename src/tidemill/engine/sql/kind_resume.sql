-- Called by: resume_kind; wakes the workers of all queues, since a kind's jobs may wait in any. Index: unique name. Fence: none.
-- Parameters: name.
with resumed as (
  update tidemill.kind set paused_at = null, paused_by = null where name = $1 returning id
)
select id, pg_notify('tidemill_job', '') from resumed
