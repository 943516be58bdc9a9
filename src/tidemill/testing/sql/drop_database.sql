-- Called by: made_database and sweep, which run the statement that it answers: names of databases cannot be parameters.
-- Index: none. Fence: none. Parameters: name.
select format('drop database if exists %I with (force)', $1::text)
