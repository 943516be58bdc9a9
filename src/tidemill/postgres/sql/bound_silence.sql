-- $1 such as '15s'. Called by pool.py first thing in a transaction behind a pooler, which keeps no setting of a session.
-- Local (true), so it ends with the transaction; a fence that follows replaces it by what is left of the lease.
select set_config('idle_in_transaction_session_timeout', $1, true)
