-- Called by: heed_cancels, inside its transaction: asks whose job nobody runs any more.
-- Index: job_lease's primary key, from job_cancel. Fence: one node at a time looks after an ask. Parameters: limit.
select c.job, c.asked_by from tidemill.job_cancel c
where not exists (select from tidemill.job_lease l where l.id = c.job)
order by c.job
limit $1
for update of c skip locked
