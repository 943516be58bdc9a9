-- Called by: Finisher, for endings that it sends again because an answer was lost, and whose leases are gone by now: was it the
-- first time that ended them? Index: job_run_id.
-- Fence: none needed, what has ended stays as it is. An attempt has one row in the history: (id, attempt, crashes), by its node.
-- A snooze and a job given back leave none; but where somebody else took the lease away, the history says so.
-- Parameters: arrays of id, attempt, crashes, node, outcome.
select u.id
from unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::bigint[], $5::text[]) as u (id, attempt, crashes, node, outcome)
where case
  when u.outcome in ('snooze', 'release') then not exists (
    select from tidemill.job_run r
    where r.id = u.id and r.attempt = u.attempt and r.crashes = u.crashes and r.node = u.node
      and (r.outcome = 'crashed' or r.reason = 'poison'))
  else exists (
    select from tidemill.job_run r
    where r.id = u.id and r.attempt = u.attempt and r.crashes = u.crashes and r.node = u.node and r.outcome = u.outcome)
end
