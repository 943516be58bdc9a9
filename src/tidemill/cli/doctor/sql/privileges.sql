-- Called by: doctor. Index: none; the catalogue. Parameters: none.
-- What this role lacks on Tidemill's tables and, in the other direction, what tenants were given in its schema.
with ours as (
  select c.oid, c.oid::regclass::text as name
  from pg_class c where c.relkind in ('r', 'p') and (c.relnamespace = 'tidemill'::regnamespace and not c.relispartition
    or c.relnamespace = 'public'::regnamespace and exists (
      select from pg_policy p where p.polrelid = c.oid and p.polname = 'Engine has full access'))
)
select format('%s on %s', right_name, name) as lacking, null as given
from ours cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as right_name
where not has_table_privilege(oid, right_name)
union all
select 'the policies of ' || name, null
from ours o join pg_class c on c.oid = o.oid
where row_security_active(o.oid) and not exists (
  select from pg_policy p cross join unnest(p.polroles) as r (role)
  where p.polrelid = o.oid and (r.role = 0 or pg_has_role(r.role, 'USAGE'))
    and p.polname in ('Engine has full access', 'Service role has full access'))
union all
select null, format('%s may use schema tidemill', role)
from unnest(array['anon', 'authenticated']) as role
where exists (select from pg_roles where rolname = role) and has_schema_privilege(role, 'tidemill', 'USAGE')
order by 1, 2
