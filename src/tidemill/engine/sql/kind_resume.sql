-- Called by: resume_kind. Index: unique name. Fence: see the function. Parameters: name.
select tidemill.resume_kind($1)
