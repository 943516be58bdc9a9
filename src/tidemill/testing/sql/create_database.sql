-- Called by: made_database, which runs the statement that it answers: names of databases cannot be parameters.
-- Index: none. Fence: none; every name is made up once. Parameters: name, template.
select format('create database %I template %I', $1::text, $2::text)
