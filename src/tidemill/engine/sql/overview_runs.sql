-- Called by: recent_runs. Index: none; the last blocks of an append-only table. Fence: none, it only looks.
-- Where those blocks do not reach back to the instant, since is the first end that they hold whole.
-- Parameters: since, most blocks of each partition.
with run as materialized (
  select outcome, finished_at, is_cut from tidemill.recent_runs($1, $2)
)
select (select min(finished_at) from run where is_cut) as since, outcome, count(*)::int as runs
from run group by outcome order by outcome
