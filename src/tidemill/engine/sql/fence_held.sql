-- Called by: whatever writes for several jobs in one transaction, as its first statement. Index: job_lease_pkey, node_pkey.
-- Fence: this is the fence of tidemill.fence for many. Locks the leases that are held, in the order of their ids, and returns their
-- jobs; for the others nothing may be written. Parameters: arrays of job, token, node.
with held as materialized (
  select l.id, ceil(extract(epoch from n.expires_at - clock_timestamp()) * 1000)::bigint as left_ms
  from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as asked (id, token, node)
  join tidemill.job_lease l on l.id = asked.id and l.token = asked.token and l.node = asked.node
  join tidemill.node n on n.id = l.node and n.expires_at > clock_timestamp()
  order by l.id
  for share of l
), bounded as materialized (
  -- A process stopped inside this transaction may neither commit late nor pin the leases.
  select set_config('idle_in_transaction_session_timeout', greatest(min(left_ms), 1)::text, true) from held having count(*) > 0
)
select id from held where (select count(*) from bounded) = 1
