-- Tidemill's clock. Called by: POST /schedules/preview, as the engine's role. Index: none, one row. Fence: none, it reads.
select tidemill.now()
