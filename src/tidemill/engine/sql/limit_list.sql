-- Called by: list_limits. Index: none, the tables are small. Fence: none, it only looks. Parameters: none.
select m.id, q.name as queue, k.name as kind, m.tenant, case m.per when '' then 'all' else m.per end as per, m.what, m.most, m.per_s,
  m.declared, m.set_by, m.set_at
from tidemill.job_limit m left join tidemill.queue q on q.id = m.queue left join tidemill.kind k on k.id = m.kind
order by m.id
