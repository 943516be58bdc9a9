-- Called by: housekeeping. Index: flow_parked, job_lease_limited. Fence: lanes that a claim looks at right now are left alone; a lane that
-- gets jobs meanwhile is made anew by the claim that hears of it (flow_wake). Parameter: most lanes.
select tidemill.forget_lanes($1) as lanes
