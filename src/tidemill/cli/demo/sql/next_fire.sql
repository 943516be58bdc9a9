-- Called by: the demo, once it goes on by itself. Index: schedule_pkey. Parameters: name.
select next_at from tidemill.schedule where name = $1
