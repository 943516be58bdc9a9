-- Called by: finish, after leases of limited jobs ended, in the same transaction. Index: flow_parked, flow_pkey.
-- Fence: only opens; what it opens too many finds no room and is parked again. Parameters: the lanes of those jobs.
select tidemill.open_lanes($1::bigint[])
