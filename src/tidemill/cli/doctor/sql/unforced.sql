-- Called by: doctor. Index: none; the catalogue. Parameters: none.
-- Tidemill's tables: those of its schema, and those of schema public that its migrations protected.
select c.oid::regclass::text as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not (c.relrowsecurity and c.relforcerowsecurity)
  and (n.nspname = 'tidemill' or n.nspname = 'public' and exists (
    select from pg_policy p where p.polrelid = c.oid and p.polname = 'Engine has full access'))
order by 1
