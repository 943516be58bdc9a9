-- Called by: whatever takes a JobFilter. Index: unique names. Parameters: kind, queue (null = any).
select (select id from tidemill.kind where name = $1) as kind, (select id from tidemill.queue where name = $2) as queue,
  tidemill.now() as now
