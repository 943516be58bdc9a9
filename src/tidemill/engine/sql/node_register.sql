-- Called by: a worker process when it starts, and again after it lost its node row.
-- Index: none. Fence: the identity column never repeats, so the id is the incarnation.
-- Parameters: host, pid, ttl (s), version, the queues it serves.
insert into tidemill.node (name, pid, expires_at, ttl, version, queues)
values ($1, $2, clock_timestamp() + make_interval(secs => $3), make_interval(secs => $3), $4, $5)
returning id
