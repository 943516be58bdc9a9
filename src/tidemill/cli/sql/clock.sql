-- Tidemill's clock. Called by: commands that tell the next fires. Index: none, one row.
select tidemill.now()
