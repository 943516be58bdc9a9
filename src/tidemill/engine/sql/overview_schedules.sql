-- Called by: overview. Index: schedule_due, schedule_broken, schedule_paused. Fence: none, it only looks.
-- Those that need somebody first, then the next fires. A schedule whose overlap rule is queue may wait for its job before.
-- Parameters: most of each state; seconds after which a fire is late.
with clock as materialized (
  select tidemill.now() as now
), planned as materialized (
  select name, next_at, spec ->> 'overlap' is not distinct from 'queue' as may_wait
  from tidemill.schedule where paused_by is null and error is null and next_at is not null order by next_at limit $1
)
select 'broken' as state, name, null::timestamptz as next_at, error as note
from (select name, error from tidemill.schedule where error is not null order by name limit $1) b
union all
select 'late', name, next_at, null from planned, clock where next_at < clock.now - make_interval(secs => $2) and not may_wait
union all
select 'paused', name, next_at, paused_by
from (select name, next_at, paused_by from tidemill.schedule where paused_by is not null and error is null order by name limit $1) p
union all
select 'planned', name, next_at, null from planned, clock where next_at >= clock.now - make_interval(secs => $2) or may_wait
