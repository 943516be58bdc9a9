-- Called by: list_budgets. Index: budget_set, budget_blocked, or the whole table, for people. Fence: none, it only looks.
-- Parameters: most budgets.
select b.scope, b.most, b.per_s, b.declared, b.set_by,
  (select sum(n) from unnest(tidemill.slots_on(b.leased, floor(extract(epoch from clock.now) / b.slot_s)::bigint - b.slot)) n)::int as used,
  case when b.blocked_until > clock.now then b.blocked_until end as blocked_until,
  case when b.blocked_until > clock.now then b.reason end as reason,
  case when b.slow_until > clock.now then b.share::float8 end as share
from (select tidemill.now() as now) clock, tidemill.budget b
where b.set_by is not null or b.blocked_until > clock.now or b.slow_until > clock.now
order by b.scope limit $1
