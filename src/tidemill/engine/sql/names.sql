-- Called by: Names.kind_of, for a job whose kind this process did not register. Parameters: kind id.
select name from tidemill.kind where id = $1
