-- Called by: Budgets.look. Index: budget_pkey. Fence: none, it only looks. Parameters: scopes and patterns.
select b.scope, b.most is not null as is_metered,
  case when b.blocked_until > clock.now then extract(epoch from b.blocked_until - clock.now)::float8 end as blocked_s, b.reason,
  case when b.slow_until > clock.now then b.share::float8 end as share,
  case when b.slow_until > clock.now then extract(epoch from b.slow_until - clock.now)::float8 end as slow_s
from (select tidemill.now() as now) clock, tidemill.budget b where b.scope = any ($1::text[])
