-- Called by: Harness.travel. Index: schedule_pkey.
-- Fence: none. A fire is a row, so that it happens once: where time begins anew, the fires of the time before are forgotten.
-- Parameters, as arrays: name, next fire (null = none).
with forgotten as (
  delete from tidemill.schedule_fire
)
update tidemill.schedule s set next_at = p.next_at, last_at = null
from unnest($1::text[], $2::timestamptz[]) as p (name, next_at)
where s.name = p.name
