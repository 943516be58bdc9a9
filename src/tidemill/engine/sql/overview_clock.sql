-- Called by: overview. Index: none; one row. Fence: none, it only looks. Parameters: none.
select real as at, real + c."offset" as now from tidemill.clock c, clock_timestamp() as real
