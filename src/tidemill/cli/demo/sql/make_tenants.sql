-- Called by: the demo. Index: primary keys. Fence: one statement, all or nothing.
-- Parameters: the company's code and name; workspaces' names in order; arrays of the people: e-mail, workspace's name, role.
-- Answers each workspace with its owner.
with company as (
  insert into public.companies (code, name) values ($1, $2) returning id
), people as materialized (
  select gen_random_uuid() as id, p.email, p.workspace, p.role
  from unnest($4::text[], $5::text[], $6::text[]) as p (email, workspace, role)
), users as (
  insert into auth.users (id, email) select id, email from people returning id
), made as materialized (
  select gen_random_uuid() as id, w.name, w.position, (
    select p.id from people p where p.workspace = w.name and p.role = 'owner') as owner
  from unnest($3::text[]) with ordinality as w (name, position)
), spaces as (
  insert into public.workspaces (id, company_id, name, created_by_user_id)
  select made.id, company.id, made.name, made.owner from made cross join company
  returning id
), members as (
  insert into public.workspace_members (workspace_id, user_id, role, joined_at)
  select m.id, p.id, p.role, tidemill.now() from people p join made m on m.name = p.workspace
)
select id as workspace, owner from made order by position
