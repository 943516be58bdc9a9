-- Count one call against a caller's limit.
-- Called by: count_call, as the service; tenants may not reach the counters.
-- Index: rate_limit_counters' primary key.
-- Fence: none; check_rate_limit() counts under the row's lock.
select allowed, greatest(1, ceil(extract(epoch from reset_at - clock_timestamp())))::int as retry_after
from public.check_rate_limit($1, $2, $3)
