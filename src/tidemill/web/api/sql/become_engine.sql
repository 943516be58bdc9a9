-- Called by: as_engine, inside tenant_session(). Local (true), so it ends with the transaction at the latest.
-- 'none' is the role that logged in. The wait for locks is bounded from here on: a request does not outlast its deadline.
select set_config('role', 'none', true), set_config('lock_timeout', '5s', true)
