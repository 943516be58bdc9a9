-- Called by: doctor. Index: none; one row. Parameters: none.
select "offset" from tidemill.clock
