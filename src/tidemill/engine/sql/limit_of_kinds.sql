-- Called by: declare_limits, at every start of a process. Index: the table is small. Fence: none, it only looks.
-- Parameters: interned kinds. Limits of whole kinds, which are what code declares.
select id, kind, per, what, most, per_s, declared from tidemill.job_limit
where kind = any ($1::int[]) and queue is null and tenant is null
