-- Called by: as_engine, at its end. Local (true); the claims were never taken away.
select set_config('role', 'authenticated', true)
