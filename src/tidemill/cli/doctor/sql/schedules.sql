-- Called by: doctor. Index: none; stops at the first row. Parameters: none.
select exists (select from tidemill.schedule)
