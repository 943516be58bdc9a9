-- Foundation: the schema of our own, its ledger, the roles and auth helpers every Supabase project has, the clock, claims.
--
-- Runs on PostgreSQL 15 to 18, as a superuser or as a non-superuser owner with CREATEROLE, on plain Postgres and on Supabase.
-- Roles and auth.* are made only where they are missing and never altered: on Supabase they are the platform's.
-- Running it twice changes nothing.

create schema if not exists tidemill;
comment on schema tidemill is 'Tidemill''s own: engine, clock, ledger and all partitions. Granted to tenants: nothing.';

create table if not exists tidemill.schema_migrations (
    version    text primary key,
    name       text not null,
    sha256     text,
    applied_at timestamptz not null default clock_timestamp(),
    applied_by text not null default current_user
);
comment on table tidemill.schema_migrations is 'Ledger of applied migrations; each file records itself, whoever runs it (our runner, supabase db push, psql).';
comment on column tidemill.schema_migrations.version is 'The 14 digits the file''s name starts with.';
comment on column tidemill.schema_migrations.name is 'The rest of the file''s name, without its ending.';
comment on column tidemill.schema_migrations.sha256 is 'Digest of the file, filled in by our runner; NULL when another tool applied it.';
comment on column tidemill.schema_migrations.applied_at is 'Real time of application.';
comment on column tidemill.schema_migrations.applied_by is 'Role that applied it; the role the owner policies are made for.';


-- Roles ---------------------------------------------------------------------------------------------------------------
-- They belong to the cluster, so databases migrated side by side race for them: the errors of that race mean done.

do $$
declare
    wanted        text;
    server_16     boolean := current_setting('server_version_num')::int >= 160000;
    -- BYPASSRLS is a superuser's to give, from 16 on also a holder's; elsewhere the policies for service_role stand in.
    may_bypass    boolean := (
        select rolsuper or (server_16 and rolcreaterole and rolbypassrls) from pg_roles where rolname = current_user
    );
    -- From 16 on membership and the right to SET ROLE are separate.
    right_to_set  text := case when server_16 then 'SET' else 'MEMBER' end;
begin
    foreach wanted in array array['anon', 'authenticated', 'service_role'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            begin
                execute format(
                    'create role %I nologin %s',
                    wanted,
                    case when wanted = 'service_role' and may_bypass then 'bypassrls' else '' end
                );
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
        -- Without it a non-superuser cannot SET LOCAL ROLE, so no tenant session could be opened.
        if not pg_has_role(current_user, wanted, right_to_set) then
            begin
                execute format('grant %I to %I', wanted, current_user);
            exception when unique_violation then
                null;
            when insufficient_privilege then
                raise warning 'role % may not be granted to %', wanted, current_user
                    using hint = format('Ask an administrator to run: grant %I to %I', wanted, current_user);
            end;
        end if;
    end loop;

    foreach wanted in array array['anon', 'authenticated', 'service_role'] loop
        if not has_schema_privilege(wanted, 'public', 'usage') then
            execute format('grant usage on schema public to %I', wanted);
        end if;
    end loop;
end
$$;

revoke all on schema tidemill from public, anon, authenticated;
grant usage on schema tidemill to service_role;


-- Helpers of the migrations -------------------------------------------------------------------------------------------

create or replace function tidemill.protect(relation regclass) returns void
language plpgsql
set search_path = ''
as $$
-- Closes a table to everybody but its owner, then lets the owner and service_role through row security. Grants follow by hand.
begin
    execute format('alter table %s enable row level security', relation);
    execute format('alter table %s force row level security', relation);
    -- Supabase's default privileges give ALL on new tables of schema public to the API's roles.
    execute format('revoke all on table %s from public, anon, authenticated, service_role', relation);
    execute format('drop policy if exists "Service role has full access" on %s', relation);
    execute format('create policy "Service role has full access" on %s to service_role using (true) with check (true)', relation);
    execute format('drop policy if exists "Engine has full access" on %s', relation);
    execute format('create policy "Engine has full access" on %s to current_user using (true) with check (true)', relation);
end
$$;
comment on function tidemill.protect(regclass) is
    'For migrations: enables and FORCEs row security on a table, revokes all API grants, lets the owner and service_role through by policy.';
revoke all on function tidemill.protect(regclass) from public;

create or replace function tidemill.claim_tables(migration text, variadic names text[]) returns void
language plpgsql
set search_path = ''
as $$
-- CREATE TABLE IF NOT EXISTS would silently adopt an application's table of the same name and lock it down.
declare
    taken text;
begin
    if exists (select from tidemill.schema_migrations where version = migration) then
        return;
    end if;
    select n into taken from unnest(names) as n where to_regclass('public.' || quote_ident(n)) is not null limit 1;
    if taken is not null then
        raise exception 'table public.% exists already and is not Tidemill''s', taken
            using errcode = 'duplicate_table',
                  hint = 'Rename that table, or give Tidemill a database of its own.';
    end if;
end
$$;
comment on function tidemill.claim_tables(text, text[]) is
    'For migrations: refuses to go on when a table of schema public that the migration is about to make exists already.';
revoke all on function tidemill.claim_tables(text, text[]) from public;

create or replace function tidemill.touch_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.updated_at := now();
    return new;
end
$$;
comment on function tidemill.touch_updated_at() is 'Trigger: updated_at becomes the time of the transaction.';
revoke all on function tidemill.touch_updated_at() from public;

select tidemill.protect('tidemill.schema_migrations');


-- auth.*: minimal stand-ins where the platform has none ---------------------------------------------------------------

do $$
begin
    if to_regnamespace('auth') is null then
        create schema auth;
        comment on schema auth is 'Stand-in for Supabase''s schema of the same name.';
        grant usage on schema auth to anon, authenticated, service_role;
    end if;

    if to_regclass('auth.users') is null then
        create table auth.users (
            id    uuid primary key,
            email text
        );
        comment on table auth.users is 'Users, known here only so that foreign keys have something to point to.';
        comment on column auth.users.id is 'The "sub" of a user''s token.';
        comment on column auth.users.email is 'E-mail address, if known.';
        perform tidemill.protect('auth.users');
        grant select, insert, update, delete on auth.users to service_role;
    end if;

    -- A pooled connection reads '' for claims that an earlier transaction had set locally, hence every nullif.
    if to_regprocedure('auth.jwt()') is null then
        create function auth.jwt() returns jsonb
        language sql stable parallel safe
        set search_path = ''
        as $f$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $f$;
        comment on function auth.jwt() is 'The claims of the caller''s token, NULL outside a tenant session.';
        grant execute on function auth.jwt() to anon, authenticated, service_role;
    end if;

    if to_regprocedure('auth.uid()') is null then
        create function auth.uid() returns uuid
        language sql stable parallel safe
        set search_path = ''
        as $f$
            select case when claims.sub ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' then claims.sub::uuid end
            from (select auth.jwt() ->> 'sub' as sub) as claims
        $f$;
        comment on function auth.uid() is 'The user of the caller''s token; NULL when there is none or it is not a uuid.';
        grant execute on function auth.uid() to anon, authenticated, service_role;
    end if;

    if to_regprocedure('auth.role()') is null then
        create function auth.role() returns text
        language sql stable parallel safe
        set search_path = ''
        as $f$ select auth.jwt() ->> 'role' $f$;
        comment on function auth.role() is 'The "role" claim of the caller''s token.';
        grant execute on function auth.role() to anon, authenticated, service_role;
    end if;
end
$$;


-- Claims of a company's users (seed 000's helpers) --------------------------------------------------------------------

create or replace function public.current_company_id() returns uuid
language sql stable parallel safe
set search_path = ''
as $$
    select case when claims.id ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' then claims.id::uuid end
    from (select auth.jwt() ->> 'company_id' as id) as claims
$$;
comment on function public.current_company_id() is
    'The company of the caller''s token (top-level claim company_id); NULL, so that policies deny, when missing, empty or not a uuid.';
revoke all on function public.current_company_id() from public, anon, authenticated, service_role;
grant execute on function public.current_company_id() to authenticated, service_role;

create or replace function public.has_role(role_key text) returns boolean
language sql stable parallel safe
set search_path = ''
as $$
    -- The ? operator alone would also take a bare string or an object's key, so {"Vibot.admin": false} would count as admin.
    select coalesce(case when jsonb_typeof(claims.keys) = 'array' then claims.keys operator(pg_catalog.?) role_key end, false)
    from (select auth.jwt() -> 'app_metadata' -> 'role_keys' as keys) as claims
$$;
comment on function public.has_role(text) is
    'Whether the caller''s token lists this key in app_metadata.role_keys, which must be an array of strings; false otherwise.';
revoke all on function public.has_role(text) from public, anon, authenticated, service_role;
grant execute on function public.has_role(text) to authenticated, service_role;


-- The clock -----------------------------------------------------------------------------------------------------------
-- Slots, schedules, expiry, post age and retention read tidemill.now(); leases, heartbeats and locks read clock_timestamp().

create table if not exists tidemill.clock (
    only_row boolean primary key default true check (only_row),
    "offset" interval not null default interval '0',
    locked   boolean not null default false
);
comment on table tidemill.clock is 'One row: how far tests, the demo and simulations have moved Tidemill''s clock.';
comment on column tidemill.clock.only_row is 'Holds the table to one row.';
comment on column tidemill.clock."offset" is 'What tidemill.now() adds to the real time, in hours and smaller units only, so that no time zone bends it.';
comment on column tidemill.clock.locked is 'True once a production process has started here: the clock can be moved no more.';
insert into tidemill.clock default values on conflict do nothing;
select tidemill.protect('tidemill.clock');
grant select on tidemill.clock to service_role;

-- VOLATILE, since it moves on within a statement. In a WHERE clause write (select tidemill.now()): that is evaluated once and
-- can be an index condition; the bare call is evaluated for every row and cannot.
create or replace function tidemill.now() returns timestamptz
language plpgsql volatile parallel safe
set search_path = ''
as $$
begin
    return (select clock_timestamp() + c."offset" from tidemill.clock as c);
end
$$;
comment on function tidemill.now() is
    'Tidemill''s clock: the real time plus an offset. In a WHERE clause write (select tidemill.now()), so that an index can be used.';
revoke all on function tidemill.now() from public, anon, authenticated;
grant execute on function tidemill.now() to service_role;

create or replace function tidemill.set_clock(at timestamptz) returns timestamptz
language plpgsql volatile
set search_path = ''
as $$
begin
    -- A stored day or month would be as long as the reader's time zone makes it.
    update tidemill.clock
    set "offset" = make_interval(secs => extract(epoch from at - clock_timestamp())::double precision)
    where not locked and at is not null;
    if not found then
        if at is null then
            raise exception 'the clock cannot be set to NULL' using errcode = 'null_value_not_allowed';
        end if;
        raise exception 'the clock of this database is locked: it serves production' using errcode = 'object_not_in_prerequisite_state';
    end if;
    return tidemill.now();
end
$$;
comment on function tidemill.set_clock(timestamptz) is 'Moves Tidemill''s clock to an instant; refused once the clock is locked. Returns the new time.';
revoke all on function tidemill.set_clock(timestamptz) from public, anon, authenticated, service_role;

create or replace function tidemill.advance_clock(by interval) returns timestamptz
language plpgsql volatile
set search_path = ''
set timezone = 'UTC'
as $$
begin
    return tidemill.set_clock(tidemill.now() + by);
end
$$;
comment on function tidemill.advance_clock(interval) is 'Moves Tidemill''s clock on (or back) by an interval, reckoned in UTC; refused once the clock is locked.';
revoke all on function tidemill.advance_clock(interval) from public, anon, authenticated, service_role;

create or replace function tidemill.reset_clock() returns timestamptz
language plpgsql volatile
set search_path = ''
as $$
begin
    update tidemill.clock set "offset" = interval '0' where "offset" <> interval '0';
    return tidemill.now();
end
$$;
comment on function tidemill.reset_clock() is 'Takes Tidemill''s clock back to the real time; always allowed.';
revoke all on function tidemill.reset_clock() from public, anon, authenticated, service_role;

create or replace function tidemill.lock_clock() returns void
language plpgsql volatile
set search_path = ''
as $$
declare
    moved_by interval := (select c."offset" from tidemill.clock as c);
begin
    if moved_by <> interval '0' then
        raise exception 'the clock of this database was moved by %: it is no production database', moved_by
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'If it is to become one: select tidemill.reset_clock()';
    end if;
    update tidemill.clock set locked = true where not locked;
end
$$;
comment on function tidemill.lock_clock() is
    'Called at start-up in production: from then on the clock cannot be moved. Raises when it has been moved already.';
revoke all on function tidemill.lock_clock() from public, anon, authenticated, service_role;


insert into tidemill.schema_migrations (version, name) values ('20261122000100', 'foundation') on conflict do nothing;
