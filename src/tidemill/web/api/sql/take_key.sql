-- Take an idempotency key; no row when it is taken. Called by: answers_kept.begin, as the engine's role.
-- Index: primary key; idempotency_key_created for what is past its day: ten of these go with each key that comes, so the
-- table does not grow beyond a day's keys.
-- Fence: the primary key; who holds it uncommitted is waited for.
-- Parameters: user, key, request.
with swept as (
    delete from tidemill.idempotency_key
    where ctid = any (array(
        select o.ctid from tidemill.idempotency_key as o
        where o.created_at < (select tidemill.now()) - interval '24 hours' and o.key <> $2
        order by o.created_at limit 10
        for update skip locked
    ))
)
insert into tidemill.idempotency_key as k (company_id, user_id, key, request)
values (coalesce((select public.current_company_id()), '00000000-0000-0000-0000-000000000000'), $1, $2, $3)
on conflict on constraint idempotency_key_pkey do update
set request = excluded.request, status = null, headers = null, body = null, created_at = excluded.created_at
where k.created_at < excluded.created_at - interval '24 hours'
returning true
