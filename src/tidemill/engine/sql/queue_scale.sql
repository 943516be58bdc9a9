-- Called by: scale_queue. Index: unique name. Fence: none; heeded at the next beat of each node.
-- Parameters: name, jobs a process (null: as many as each was started with).
update tidemill.queue set per_process = $2 where name = $1 returning id
