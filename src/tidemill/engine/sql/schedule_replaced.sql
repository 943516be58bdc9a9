-- Called by: Schedules.tick, before it looks what is due.
-- Index: schedule_due; sleeping schedules cost nothing. unique_key_pkey for those that are due and replace.
-- Fence: one snapshot. A schedule that is due holds no job of the fire it is due for: that job and the move are one commit.
-- Parameters: kinds this process knows, most jobs.
select u.job
from tidemill.schedule s
join tidemill.kind k on k.name = s.kind
join tidemill.unique_key u on u.kind = k.id and u.key = 'schedule:' || s.name
where s.next_at <= (select tidemill.now()) and s.paused_by is null and s.error is null and s.kind = any ($1::text[])
  and s.spec ->> 'overlap' = 'replace'
  and not exists (select from tidemill.job_cancel c where c.job = u.job)
order by s.next_at
limit $2
