-- Called by: tidemill connectors set. Index: primary key. Fence: an operator. Null leaves a column as it is.
-- Parameters: id, name, status, config.
update public.integration_connectors
set name = coalesce($2, name), status = coalesce($3, status), config = coalesce($4, config)
where id = $1
returning version
