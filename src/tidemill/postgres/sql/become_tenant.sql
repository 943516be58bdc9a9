-- $1 the claims as text. Called by session.py first thing in a transaction. Both settings are local (true), so they end
-- with the transaction even behind a transaction pooler. set_config('role') is SET LOCAL ROLE as a function.
select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)
