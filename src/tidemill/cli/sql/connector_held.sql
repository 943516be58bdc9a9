-- Called by: tidemill connectors credentials, so that versions follow one another. Index: primary key. Parameters: id.
select id from public.integration_connectors where id = $1 for update
