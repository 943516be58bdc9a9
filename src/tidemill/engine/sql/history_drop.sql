-- Called by: housekeeping, after history_detach has committed, or another process's has. Index: none, the catalogue.
-- Fence: as history_detach. Parameters: none.
select tidemill.drop_detached_history() as partition
