-- A bound on what one tenant may pile up through public.tidemill_enqueue.

alter table tidemill.kind add column if not exists most_waiting int check (most_waiting > 0);
comment on column tidemill.kind.most_waiting is
    'Jobs of the kind that one tenant may have waiting when it enqueues another through public.tidemill_enqueue; NULL: any number.';

create or replace function tidemill.waiting_jobs(kind int, queue int, lane bigint, most int) returns bigint
language sql stable strict
set search_path = ''
as $$
    -- By job_ready_claim, from the end of the lane. Other kinds' jobs are passed over, a bounded number of them, so that
    -- a call stays cheap however much waits.
    select count(*) from (
        select from (
            select r.kind from tidemill.job_ready as r
            where r.queue = $2 and r.lane = $3
            order by r.rank desc, r.id desc
            limit $4 + 1000) as last
        where last.kind = $1
        limit $4) as found
$$;
comment on function tidemill.waiting_jobs(int, int, bigint, int) is
    'How many jobs of a kind are ready in a lane, counted up to so many and among the last in line; NULL without a bound.';

create or replace function public.tidemill_enqueue(kind text, args jsonb default '{}') returns bigint
language plpgsql volatile security definer
set search_path = ''
as $$
declare
    exposed tidemill.kind := (select k from tidemill.kind as k where k.name = $1 and k.exposed);
    tenant text := auth.jwt() ->> exposed.tenant_claim;
begin
    if exposed.id is null then
        perform tidemill.refuse('kind', format('no job kind %L is exposed', left($1, 200)));
    end if;
    if coalesce(tenant, '') !~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' then
        raise exception 'the token has no uuid in its claim %, which is the tenant of % jobs',
            exposed.tenant_claim, quote_literal($1)
            using errcode = 'insufficient_privilege';
    end if;
    if tidemill.waiting_jobs(exposed.id, exposed.queue, tidemill.lane_of(tenant::uuid), exposed.most_waiting)
        >= exposed.most_waiting then
        -- PostgREST makes an HTTP status of it: 429, too many requests.
        raise exception '% jobs of the kind % are waiting already; try again when some have run',
            exposed.most_waiting, quote_literal($1)
            using errcode = 'PT429';
    end if;
    return tidemill.enqueue($1, $2, tenant => tenant::uuid);
end
$$;
comment on function public.tidemill_enqueue(text, jsonb) is
    'For signed-in users: enqueues a job of an exposed kind for the tenant of the caller''s token and returns its id. Raises PT429 while too many of them wait.';

revoke all on function tidemill.waiting_jobs(int, int, bigint, int) from public, anon, authenticated, service_role;


insert into tidemill.schema_migrations (version, name) values ('20261122001700', 'exposed') on conflict do nothing;
