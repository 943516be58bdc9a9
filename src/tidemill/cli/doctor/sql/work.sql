-- Called by: doctor. Index: job_ready_claim, job_delayed_due, batch_live; node and job_lease are small. Counts are bounded.
-- What is only just so may be in the hands of a worker already, hence the 30 and 60 seconds. Parameters: none.
select
  (select count(*) from tidemill.node where expires_at > clock_timestamp())::int as alive,
  (select count(*) from tidemill.node where expires_at <= clock_timestamp())::int as expired,
  (select count(*) from (
    select from tidemill.job_ready where enqueued_at < (select tidemill.now()) - interval '60 seconds' limit 10000) w)::int
    + (select count(*) from (
    select from tidemill.job_delayed where run_at < (select tidemill.now()) - interval '60 seconds' limit 10000) w)::int as waiting,
  (select count(*) from tidemill.job_lease l
    where l.claimed_at < clock_timestamp() - interval '30 seconds' and not exists (
      select from tidemill.node n where n.id = l.node and n.expires_at > clock_timestamp() - interval '30 seconds'))::int as orphans,
  (select count(*) from tidemill.batch
    where state in ('open', 'sealed') and deadline < (select tidemill.now()) - interval '30 seconds')::int as overdue,
  (select count(*) from (select from tidemill.job_dead limit 1001) d)::int as dead, 1000 as counted
