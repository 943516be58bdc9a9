-- Called by: the demo, once for each company. Index: primary keys. Fence: one statement, all or nothing.
-- Parameters: code, name, the admin's e-mail.
with company as (
  insert into public.companies (code, name) values ($1, $2) returning id
), admin as (
  insert into auth.users (id, email) values (gen_random_uuid(), $3) returning id
), profile as (
  insert into public.profiles (id, email) select id, $3 from admin
)
select company.id as company, admin.id as admin from company cross join admin
