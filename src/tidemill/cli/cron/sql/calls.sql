-- Called by: cron status, where pg_net keeps no answers. Index: idx_edge_call_called. Parameters: limit.
select id, name, called_at, request_id, null::int as status_code, null::text as error
from tidemill.edge_call order by called_at desc limit $1
