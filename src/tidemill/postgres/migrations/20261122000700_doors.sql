-- Doors: the rate limit of HTTP callers, and pg_cron's way in (trigger_edge_function through pg_net).

select tidemill.claim_tables('20261122000700', 'rate_limit_counters');

create table if not exists public.rate_limit_counters (
    key        text primary key,
    count      integer not null check (count > 0),
    reset_at   timestamptz not null,
    updated_at timestamptz not null default clock_timestamp()
);
comment on table public.rate_limit_counters is 'Calls per key in its current window; written by check_rate_limit, purged a day after the window.';
comment on column public.rate_limit_counters.key is 'What is limited, e.g. door and user.';
comment on column public.rate_limit_counters.count is 'Calls in this window, refused ones included.';
comment on column public.rate_limit_counters.reset_at is 'Real time at which the window ends.';
comment on column public.rate_limit_counters.updated_at is 'Real time of the last call.';
create index if not exists idx_rate_limit_counters_reset on public.rate_limit_counters (reset_at);

select tidemill.protect('public.rate_limit_counters');
grant select, insert, update, delete on public.rate_limit_counters to service_role;

create or replace function public.check_rate_limit(
    key text, "limit" integer, window_s integer, out allowed boolean, out remaining integer, out reset_at timestamptz
)
language plpgsql volatile
set search_path = ''
as $$
-- Fixed windows by the real clock: a limit protects the server, so a moved clock must not lift it.
-- The row lock of the upsert puts callers of one key in line; nobody gets past the limit together.
declare
    at timestamptz := clock_timestamp();
begin
    if coalesce($1, '') = '' or coalesce($2, 0) < 1 or coalesce($3, 0) < 1 then
        raise exception 'check_rate_limit takes a key, a limit and a window in seconds, each at least 1'
            using errcode = 'invalid_parameter_value';
    end if;
    insert into public.rate_limit_counters as c (key, count, reset_at, updated_at)
    values ($1, 1, at + make_interval(secs => $3), at)
    on conflict on constraint rate_limit_counters_pkey do update set
        count = case when c.reset_at <= at then 1 else least(c.count, 2147483646) + 1 end,
        reset_at = case when c.reset_at <= at then excluded.reset_at else c.reset_at end,
        updated_at = at
    returning c.count <= $2, greatest($2 - c.count, 0), c.reset_at
    into allowed, remaining, reset_at;
end
$$;
comment on function public.check_rate_limit(text, integer, integer) is
    'Counts one call of a key in its fixed window: whether it is allowed, how many are left, when the window ends. For the server, not for tenants.';
revoke all on function public.check_rate_limit(text, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.check_rate_limit(text, integer, integer) to service_role;


-- pg_cron's way in ----------------------------------------------------------------------------------------------------

create table if not exists tidemill.setting (
    name       text primary key,
    value      text not null check (value <> ''),
    updated_at timestamptz not null default now()
);
comment on table tidemill.setting is 'What functions inside the database must know, where there is no Supabase Vault to keep it: CRON_SECRET, TIDEMILL_BASE_URL. The owner alone reads it.';
comment on column tidemill.setting.name is 'Name.';
comment on column tidemill.setting.value is 'Value; may be a secret.';
comment on column tidemill.setting.updated_at is 'When it was last set.';
create or replace trigger touch_updated_at before update on tidemill.setting
    for each row execute function tidemill.touch_updated_at();
select tidemill.protect('tidemill.setting');

create table if not exists tidemill.edge_call (
    id         bigint generated always as identity primary key,
    name       text not null,
    request_id bigint,
    called_at  timestamptz not null default clock_timestamp()
);
comment on table tidemill.edge_call is 'Calls made by trigger_edge_function, kept 30 days.';
comment on column tidemill.edge_call.id is 'Identity.';
comment on column tidemill.edge_call.name is 'The function called.';
comment on column tidemill.edge_call.request_id is 'pg_net''s id; the answer stands under it in net._http_response for as long as pg_net keeps it.';
comment on column tidemill.edge_call.called_at is 'Real time of the call.';
create index if not exists idx_edge_call_called on tidemill.edge_call (called_at);
select tidemill.protect('tidemill.edge_call');
grant select on tidemill.edge_call to service_role;

create or replace function tidemill.secret_setting(wanted text) returns text
language plpgsql stable
set search_path = ''
as $$
-- Supabase Vault first, where it exists; it cannot be named in plain SQL, since elsewhere it does not.
declare
    found_value text;
begin
    if to_regclass('vault.decrypted_secrets') is not null then
        execute 'select s.decrypted_secret from vault.decrypted_secrets as s where s.name = $1' into found_value using wanted;
    end if;
    return coalesce(nullif(found_value, ''), (select s.value from tidemill.setting as s where s.name = wanted));
end
$$;
comment on function tidemill.secret_setting(text) is
    'A value from Supabase Vault or, failing that, from tidemill.setting; NULL when neither has it.';
revoke all on function tidemill.secret_setting(text) from public, anon, authenticated, service_role;

create or replace function public.trigger_edge_function(name text) returns bigint
language plpgsql volatile security definer
set search_path = ''
as $$
declare
    secret   text := tidemill.secret_setting('CRON_SECRET');
    base_url text := rtrim(tidemill.secret_setting('TIDEMILL_BASE_URL'), '/');
    request  bigint;
begin
    if $1 is null or $1 not in (
        'scheduled-sync', 'token-refresh', 'token-auto-revoke', 'workspace-cleanup', 'process-auto-sync-jobs'
    ) then
        raise exception 'trigger_edge_function: % is none of Tidemill''s functions', quote_nullable($1)
            using errcode = 'invalid_parameter_value';
    end if;
    if secret is null then
        raise exception 'trigger_edge_function: CRON_SECRET is not set'
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'Put it into Supabase Vault or into tidemill.setting, or run: tidemill cron install';
    end if;
    if base_url is null or base_url !~ '^https?://[^/?#[:space:]]+' then
        raise exception 'trigger_edge_function: TIDEMILL_BASE_URL is not set to an http or https address'
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'Put it into Supabase Vault or into tidemill.setting, or run: tidemill cron install';
    end if;
    if to_regnamespace('net') is null then
        raise exception 'trigger_edge_function: there is no pg_net here'
            using errcode = 'object_not_in_prerequisite_state',
                  hint = 'create extension pg_net; or let the built-in schedule do the work and drop the pg_cron job.';
    end if;

    -- The functions answer within two seconds, with 202 when there is more to do; the rest is for the way.
    execute 'select net.http_post(url := $1, headers := $2, body := $3, timeout_milliseconds := 10000)'
        into request
        using base_url || '/functions/v1/' || $1,
              jsonb_build_object('Content-Type', 'application/json', 'Authorization', 'Bearer ' || secret),
              '{}'::jsonb;

    delete from tidemill.edge_call where called_at < clock_timestamp() - interval '30 days';
    insert into tidemill.edge_call (name, request_id) values ($1, request);
    return request;
end
$$;
comment on function public.trigger_edge_function(text) is
    'For pg_cron: posts to one of Tidemill''s functions through pg_net, with CRON_SECRET, and records the call. Returns pg_net''s request id; raises when not set up.';
revoke all on function public.trigger_edge_function(text) from public, anon, authenticated, service_role;
grant execute on function public.trigger_edge_function(text) to service_role;


insert into tidemill.schema_migrations (version, name) values ('20261122000700', 'doors') on conflict do nothing;
