-- Called by: doctor. Parameters: none.
select clock_timestamp()
