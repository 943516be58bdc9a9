-- Called by: Finisher, for endings that it sends again because an answer was lost, and whose leases are gone by now: was it the
-- first time that ended them? Index: job_run_id.
-- Fence: none needed, what has ended stays as it is. An attempt has one row in the history: (id, attempt, crashes), by its node.
-- A snooze and a job given back leave none; but where somebody else took the lease away, the history says so.
-- Parameters: arrays of id, attempt, crashes, node, outcome.
select u.id
from unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::bigint[], $5::text[]) as u (id, attempt, crashes, node, outcome)
left join lateral (
  select outcome, reason from tidemill.job_run
  where id = u.id and attempt = u.attempt and crashes = u.crashes and node = u.node
  limit 1) r on true
where case
  when u.outcome in ('snooze', 'release') then r.outcome is distinct from 'crashed' and r.reason is distinct from 'poison'
  else r.outcome = u.outcome
end
