-- Called by: Stepper.wait, when nothing is due. Index: none; a test's database holds few jobs.
-- Fence: none; the clock never goes back. Parameters: queues by name. No row where nothing is delayed.
select tidemill.set_clock(greatest(min(j.run_at), tidemill.now()))
from tidemill.job_delayed j join tidemill.queue q on q.id = j.queue
where q.name = any ($1::text[])
having count(*) > 0
