-- Called by: tidemill connectors rm. Index: primary key. Fence: an operator; the jobs' foreign key. Parameters: id.
delete from public.integration_connectors where id = $1
