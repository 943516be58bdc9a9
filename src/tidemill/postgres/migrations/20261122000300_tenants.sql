-- Tenants: companies (claim in the token), profiles, workspaces and their members (rows), and who may see what of them.
--
-- A workspace is seen by those who have joined it; a soft-deleted one by its owners alone, who may still want it back.
-- Policies on other tables ask  workspace_id = any (array(select public.my_workspace_ids())) : evaluated once per query, index-friendly.

select tidemill.claim_tables('20261122000300', 'companies', 'profiles', 'workspaces', 'workspace_members');

create table if not exists public.companies (
    id         uuid primary key default gen_random_uuid(),
    code       varchar(32) not null unique,
    name       varchar(255) not null,
    status     varchar(20) not null default 'active' check (status in ('active', 'suspended', 'closed')),
    timezone   varchar(50),
    locale     varchar(10) not null default 'zh-CN',
    metadata   jsonb not null default '{}'::jsonb,
    created_at timestamptz not null default current_timestamp,
    updated_at timestamptz not null default current_timestamp
);
comment on table public.companies is 'Companies: tenants whose users carry the company in their token.';
comment on column public.companies.id is 'Identity; the claim company_id.';
comment on column public.companies.code is 'Short name, unique over all companies.';
comment on column public.companies.name is 'Name.';
comment on column public.companies.status is 'active, suspended or closed.';
comment on column public.companies.timezone is 'IANA zone of schedules that name none; NULL means UTC.';
comment on column public.companies.locale is 'Language of messages.';
comment on column public.companies.metadata is 'The application''s own.';
comment on column public.companies.created_at is 'When the row was made.';
comment on column public.companies.updated_at is 'When the row was last changed.';

create table if not exists public.profiles (
    id                 uuid primary key references auth.users (id) on delete cascade,
    email              text,
    first_name         text,
    last_name          text,
    phone_number       text,
    preferred_timezone text,
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now()
);
comment on table public.profiles is 'What is known of a user beyond the sign-in.';
comment on column public.profiles.id is 'The user.';
comment on column public.profiles.email is 'E-mail address for messages.';
comment on column public.profiles.first_name is 'First name.';
comment on column public.profiles.last_name is 'Last name.';
comment on column public.profiles.phone_number is 'Phone number for messages.';
comment on column public.profiles.preferred_timezone is 'IANA zone in which times are shown; NULL until asked.';
comment on column public.profiles.created_at is 'When the row was made.';
comment on column public.profiles.updated_at is 'When the row was last changed.';

create table if not exists public.workspaces (
    id                    uuid primary key default gen_random_uuid(),
    company_id            uuid references public.companies (id) on delete cascade,
    name                  text not null,
    created_by_user_id    uuid references auth.users (id) on delete set null,
    deleted_at            timestamptz,
    deletion_confirmed_by jsonb not null default '[]'::jsonb check (jsonb_typeof(deletion_confirmed_by) = 'array'),
    created_at            timestamptz not null default now(),
    updated_at            timestamptz not null default now(),
    unique (company_id, id)
);
comment on table public.workspaces is 'Workspaces: tenants whose users are rows of workspace_members.';
comment on column public.workspaces.id is 'Identity.';
comment on column public.workspaces.company_id is 'The company that reaches this workspace through its own tables, if any.';
comment on column public.workspaces.name is 'Name.';
comment on column public.workspaces.created_by_user_id is 'Who made it; NULL once that user is gone.';
comment on column public.workspaces.deleted_at is 'Soft deletion: nothing is synced, only owners see it, purged after the retention time.';
comment on column public.workspaces.deletion_confirmed_by is 'Ids of the owners who have confirmed the deletion.';
comment on column public.workspaces.created_at is 'When the row was made.';
comment on column public.workspaces.updated_at is 'When the row was last changed.';
create index if not exists idx_workspaces_created_by on public.workspaces (created_by_user_id);
create index if not exists idx_workspaces_deleted_at on public.workspaces (deleted_at) where deleted_at is not null;

create table if not exists public.workspace_members (
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    user_id      uuid not null references auth.users (id) on delete cascade,
    role         text not null check (role in ('owner', 'editor', 'viewer')),
    invited_at   timestamptz not null default now(),
    joined_at    timestamptz,
    invited_by   uuid references auth.users (id) on delete set null,
    primary key (workspace_id, user_id)
);
comment on table public.workspace_members is 'Who belongs to a workspace, and as what.';
comment on column public.workspace_members.workspace_id is 'The workspace.';
comment on column public.workspace_members.user_id is 'The user.';
comment on column public.workspace_members.role is 'owner, editor or viewer.';
comment on column public.workspace_members.invited_at is 'When the user was invited.';
comment on column public.workspace_members.joined_at is 'When the invitation was taken; NULL gives no rights at all.';
comment on column public.workspace_members.invited_by is 'Who invited; NULL for a founder, or once that user is gone.';
create index if not exists idx_workspace_members_user on public.workspace_members (user_id);
create index if not exists idx_workspace_members_invited_by on public.workspace_members (invited_by) where invited_by is not null;

create or replace trigger touch_updated_at before update on public.companies
    for each row execute function tidemill.touch_updated_at();
create or replace trigger touch_updated_at before update on public.profiles
    for each row execute function tidemill.touch_updated_at();
create or replace trigger touch_updated_at before update on public.workspaces
    for each row execute function tidemill.touch_updated_at();


-- Who belongs where. SECURITY DEFINER: a policy on workspace_members that read workspace_members itself would recurse. -----

create or replace function public.my_workspace_ids() returns setof uuid
language sql stable security definer parallel safe rows 10
set search_path = ''
as $$
    select m.workspace_id
    from public.workspace_members as m
    join public.workspaces as w on w.id = m.workspace_id
    where m.user_id = (select auth.uid())
      and m.joined_at is not null
      and (w.deleted_at is null or m.role = 'owner')
$$;
comment on function public.my_workspace_ids() is
    'Workspaces the caller has joined; a soft-deleted one only if the caller owns it. For policies: = any (array(select public.my_workspace_ids())).';

create or replace function public.is_workspace_member(p_workspace_id uuid) returns boolean
language sql stable security definer parallel safe
set search_path = ''
as $$
    select exists (
        select
        from public.workspace_members as m
        join public.workspaces as w on w.id = m.workspace_id
        where m.workspace_id = p_workspace_id
          and m.user_id = (select auth.uid())
          and m.joined_at is not null
          and (w.deleted_at is null or m.role = 'owner')
    )
$$;
comment on function public.is_workspace_member(uuid) is
    'Whether the caller has joined this workspace (a soft-deleted one: whether the caller owns it).';

create or replace function public.is_workspace_editor(p_workspace_id uuid) returns boolean
language sql stable security definer parallel safe
set search_path = ''
as $$
    select exists (
        select
        from public.workspace_members as m
        join public.workspaces as w on w.id = m.workspace_id
        where m.workspace_id = p_workspace_id
          and m.user_id = (select auth.uid())
          and m.joined_at is not null
          and m.role in ('owner', 'editor')
          and w.deleted_at is null
    )
$$;
comment on function public.is_workspace_editor(uuid) is
    'Whether the caller has joined this workspace as owner or editor; never for a soft-deleted one.';

revoke all on function public.my_workspace_ids() from public, anon, authenticated, service_role;
revoke all on function public.is_workspace_member(uuid) from public, anon, authenticated, service_role;
revoke all on function public.is_workspace_editor(uuid) from public, anon, authenticated, service_role;
grant execute on function public.my_workspace_ids() to authenticated;
grant execute on function public.is_workspace_member(uuid) to authenticated;
grant execute on function public.is_workspace_editor(uuid) to authenticated;


-- Row security: tenants read, and write nothing here ------------------------------------------------------------------

select tidemill.protect('public.companies');
select tidemill.protect('public.profiles');
select tidemill.protect('public.workspaces');
select tidemill.protect('public.workspace_members');

grant select, insert, update, delete on
    public.companies, public.profiles, public.workspaces, public.workspace_members to service_role;
grant select on public.companies, public.profiles, public.workspaces, public.workspace_members to authenticated;

drop policy if exists "Companies readable by their users" on public.companies;
create policy "Companies readable by their users" on public.companies for select to authenticated
    using (id = (select public.current_company_id()));

drop policy if exists "Profiles readable by their users" on public.profiles;
create policy "Profiles readable by their users" on public.profiles for select to authenticated
    using (id = (select auth.uid()));

drop policy if exists "Workspaces readable by members" on public.workspaces;
create policy "Workspaces readable by members" on public.workspaces for select to authenticated
    using (id = any (array(select public.my_workspace_ids())));

drop policy if exists "Members readable by co-members" on public.workspace_members;
create policy "Members readable by co-members" on public.workspace_members for select to authenticated
    using (workspace_id = any (array(select public.my_workspace_ids())));


insert into tidemill.schema_migrations (version, name) values ('20261122000300', 'tenants') on conflict do nothing;
