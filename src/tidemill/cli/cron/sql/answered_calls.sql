-- Called by: cron status. Index: idx_edge_call_called; pg_net's table is small, it keeps answers for hours. Parameters: limit.
select c.id, c.name, c.called_at, c.request_id, r.status_code, r.error_msg as error
from tidemill.edge_call c left join net._http_response r on r.id = c.request_id
order by c.called_at desc limit $1
