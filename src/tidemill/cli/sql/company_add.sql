-- Called by: tidemill companies add. Index: companies' unique code. Fence: an operator. Parameters: code, name, zone.
insert into public.companies (code, name, timezone) values ($1, $2, $3)
returning id
