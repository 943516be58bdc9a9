-- $1 the claims as text, $2 settings as a JSON object. Called by session.py first thing in a transaction. All are local (true),
-- so they end with the transaction even behind a transaction pooler. set_config('role') is SET LOCAL ROLE as a function.
select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true),
    (select count(set_config(s.key, s.value, true)) from jsonb_each_text($2) as s)
