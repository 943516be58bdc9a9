-- Called by: set_weight. Index: tenant_weight_pkey. Fence: none; the next claim goes by it. Parameters: tenant, weight (1 = forget it), who.
with gone as (
  delete from tidemill.tenant_weight where tenant = $1 and $2::int = 1
)
insert into tidemill.tenant_weight (tenant, lane, weight, set_by)
select $1, tidemill.lane_of($1), $2, $3 where $2 > 1
on conflict (tenant) do update set weight = excluded.weight, set_by = excluded.set_by
