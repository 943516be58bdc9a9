-- $1 such as '5s'. Called by migrate.py on its own direct connection, the one place where session state is kept.
select set_config('lock_timeout', $1, false)
