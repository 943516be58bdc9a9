-- Called by: answers_kept.keep, as the engine's role. Index: primary key.
-- Fence: the key was taken in this transaction. Parameters: user, key, status, headers, body.
update tidemill.idempotency_key set status = $3, headers = $4, body = $5
where company_id = coalesce((select public.current_company_id()), '00000000-0000-0000-0000-000000000000')
  and user_id = $1 and key = $2
