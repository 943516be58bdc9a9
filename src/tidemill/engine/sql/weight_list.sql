-- Called by: list_weights. Index: none, the table is small. Fence: none, it only looks. Parameters: none.
select tenant, weight, set_by from tidemill.tenant_weight order by tenant
