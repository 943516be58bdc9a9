-- Called by: template, which runs the statement that it answers: names of databases cannot be parameters.
-- Index: none. Fence: none; a database that somebody is connected to cannot be copied. Parameters: name.
select format('alter database %I allow_connections false', $1::text)
