-- Called by: doctor. Index: none; one row. Parameters: none.
select "offset", clock_timestamp() as real_now from tidemill.clock
