-- Called by: housekeeping. Index: none, the catalogue. Fence: safe beside any number of others; waits a fifth of a second for a lock at
-- most. Parameter: days that history is kept.
select tidemill.detach_history(clock_timestamp() - make_interval(days => $1)) as partition
