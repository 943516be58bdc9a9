-- The answer to a request that came before. Called by: answers_kept.begin, as the engine's role. Index: primary key.
-- Fence: none, it reads. Parameters: user, key.
select request, status, headers, body
from tidemill.idempotency_key
where company_id = coalesce((select public.current_company_id()), '00000000-0000-0000-0000-000000000000')
  and user_id = $1 and key = $2
