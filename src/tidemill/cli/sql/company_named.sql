-- Called by: commands about tenants' syncs. Index: companies' unique code; primary key. Parameters: code, id.
select id from public.companies where code = $1 or id = $2
order by (id = $2) desc nulls last
limit 1
