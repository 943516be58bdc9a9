-- Enqueue from SQL: triggers, psql, PostgREST and other drivers make jobs in the transaction that writes their own data.
--
--   tidemill.enqueue, tidemill.enqueue_many   for the owner and service_role
--   public.tidemill_enqueue                   for tenants: exposed kinds only, the tenant comes from the token
--
-- Bad input raises TM003 with the field as COLUMN and at the head of the message; a held key raises TM002. What an
-- application declared of its kinds stands in tidemill.kind; nothing is interned here, where the lock would last as
-- long as the caller's transaction.

alter table tidemill.kind add column if not exists queue int references tidemill.queue (id);
alter table tidemill.kind add column if not exists priority smallint not null default 0;
alter table tidemill.kind add column if not exists max_attempts smallint check (max_attempts > 0);
alter table tidemill.kind add column if not exists exposed boolean not null default false;
alter table tidemill.kind add column if not exists tenant_claim text not null default 'company_id' check (tenant_claim <> '');
comment on column tidemill.kind.queue is 'Where its jobs wait unless they say otherwise; NULL until an application has declared the kind.';
comment on column tidemill.kind.priority is 'Added to the priority of each of its jobs.';
comment on column tidemill.kind.max_attempts is 'Errors after which a job is dead, unless the job says otherwise; NULL until an application has declared the kind.';
comment on column tidemill.kind.exposed is 'Whether tenants may enqueue it through public.tidemill_enqueue.';
comment on column tidemill.kind.tenant_claim is 'Top-level claim of the token, a uuid, that is the tenant of jobs enqueued through public.tidemill_enqueue.';

create or replace function tidemill.most_args_bytes() returns int
language sql immutable parallel safe
set search_path = ''
as $$ select 1048576 $$;
comment on function tidemill.most_args_bytes() is 'Bytes of JSON that the arguments of one job may have: every claim, retry and rescue copies them.';

create or replace function tidemill.refuse(field text, problem text) returns void
language plpgsql
set search_path = ''
as $$
begin
    raise exception '%: %', field, problem using errcode = 'TM003', column = field;
end
$$;
comment on function tidemill.refuse(text, text) is 'Raises TM003: bad input, naming the field.';

create or replace function tidemill.enqueue_jobs(
    kinds int[], queues int[], priorities smallint[], max_attempts smallint[], tenants uuid[], batches uuid[],
    keys text[], args jsonb[], run_ats timestamptz[], delays_s double precision[], traces text[]
) returns table (ord bigint, id bigint)
language plpgsql
set search_path = ''
set lock_timeout = '10s'
as $$
-- In plpgsql, whose plans are kept from call to call.
#variable_conflict use_column
begin
    return query
    with asked as materialized (
        select nextval('tidemill.job_id') as id, u.*, (select tidemill.now()) as at
        from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            with ordinality as u (kind, queue, priority, max_attempts, tenant, batch, key, args, run_at, delay_s, trace, ord)
    ), held as (
        insert into tidemill.unique_key (kind, key, job)
        select kind, key, id from asked where key is not null order by kind, key
        on conflict do nothing
        returning job
    ), taken as materialized (
        select *, tidemill.lane_of(tenant) as lane,
            coalesce(run_at, at + make_interval(secs => delay_s)) as due,
            (extract(epoch from at) * 1000)::bigint - priority * 60000 as rank
        from asked
        where key is null or id in (select job from held)
    ), ready as (
        insert into tidemill.job_ready
            (id, queue, lane, rank, kind, priority, max_attempts, tenant, batch, key, enqueued_at, args, trace)
        select id, queue, lane, rank, kind, priority, max_attempts, tenant, batch, key, at, args, trace
        from taken where due is null or due <= at
        returning queue
    ), delayed as (
        insert into tidemill.job_delayed
            (id, queue, lane, rank, kind, priority, max_attempts, tenant, batch, key, enqueued_at, args, trace, run_at)
        select id, queue, lane, rank, kind, priority, max_attempts, tenant, batch, key, at, args, trace, due
        from taken where due > at
    ), counted as (
        update tidemill.batch b set total = b.total + n.jobs
        from (select batch, count(*)::int as jobs from taken where batch is not null group by batch) n
        where b.id = n.batch
    ), woken as materialized (
        select pg_notify('tidemill_job', queue::text) from (select distinct queue from ready) q
    )
    select t.ord, t.id from taken t where (select count(*) from woken) >= 0;
end
$$;
comment on function tidemill.enqueue_jobs(int[], int[], smallint[], smallint[], uuid[], uuid[], text[], jsonb[], timestamptz[], double precision[], text[]) is
    'Inserts jobs of interned kinds and queues, unchecked: place in the input and id of each; those whose key is held are left out.';

create or replace function tidemill.enqueue_named(
    kinds text[], args jsonb[], queues text[], keys text[], priorities int[], run_ats timestamptz[], delays interval[],
    tenants uuid[], batches uuid[], max_attempts int[], traces text[]
) returns setof bigint
language plpgsql
set search_path = ''
as $$
declare
    bad   record;
    ready record;
begin
    select f.* into bad
    from unnest($1, $2, $3, $4, $5, $6, $7, $10, $11)
        with ordinality as j (kind, args, queue, key, priority, run_at, delay, max_attempts, trace, ord)
    left join tidemill.kind as k on k.name = j.kind
    left join tidemill.queue as q on q.name = j.queue
    cross join lateral (values
        (1, 'kind', case when k.queue is null then format(
            'no application has declared a job kind %L here: register it and start a worker with it; declared: %s',
            left(j.kind, 200),
            coalesce((select string_agg(n.name, ', ') from (
                select name from tidemill.kind where queue is not null order by name limit 50) as n), 'none')) end),
        (2, 'args', case
            when jsonb_typeof(j.args) is distinct from 'object' then
                format('need to be a JSON object, not %s', coalesce(jsonb_typeof(j.args), 'NULL'))
            when octet_length(j.args::text) > tidemill.most_args_bytes() then format(
                'have %s bytes of JSON; %s are allowed. Store the data and pass its key',
                octet_length(j.args::text), tidemill.most_args_bytes()) end),
        (3, 'queue', case when j.queue is not null and q.id is null then format(
            'no worker serves a queue %L and no kind declares it; known: %s', left(j.queue, 200),
            (select string_agg(n.name, ', ') from (select name from tidemill.queue order by name limit 50) as n)) end),
        (4, 'key', case when length(j.key) not between 1 and 500 then format(
            'needs 1 to 500 characters, has %s', length(j.key)) end),
        (5, 'priority', case when j.priority not between -1000 and 1000 then format(
            '%s is outside -1000 to 1000; higher runs first', j.priority) end),
        (6, 'delay', case
            when j.delay is not null and j.run_at is not null then 'give either run_at or delay, not both'
            when j.delay not between interval '0' and interval '1000000000 seconds' then
                format('%s is not from 0 to 1e9 seconds', j.delay) end),
        (7, 'run_at', case when not isfinite(j.run_at) then format('%s is no instant', j.run_at) end),
        (8, 'max_attempts', case when j.max_attempts not between 1 and 10000 then format(
            '%s is outside 1 to 10000', j.max_attempts) end),
        (9, 'trace', case when j.trace !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' then format(
            '%L is no W3C traceparent', left(j.trace, 100)) end)
    ) as f (place, field, problem)
    where f.problem is not null
    order by j.ord, f.place
    limit 1;
    if found then
        perform tidemill.refuse(bad.field, bad.problem);
    end if;

    select array_agg(k.id order by j.ord) as kinds,
        array_agg(coalesce(q.id, k.queue) order by j.ord) as queues,
        array_agg((coalesce(j.priority, 0) + k.priority)::smallint order by j.ord) as priorities,
        array_agg(coalesce(j.max_attempts, k.max_attempts)::smallint order by j.ord) as max_attempts,
        array_agg(coalesce(j.run_at, tidemill.now() + j.delay) order by j.ord) as run_ats
    into ready
    from unnest($1, $3, $5, $6, $7, $10) with ordinality as j (kind, queue, priority, run_at, delay, max_attempts, ord)
    join tidemill.kind as k on k.name = j.kind
    left join tidemill.queue as q on q.name = j.queue;

    return query
    select e.id
    from generate_series(1, cardinality($1)) as j (ord)
    left join tidemill.enqueue_jobs(
        ready.kinds, ready.queues, ready.priorities, ready.max_attempts, $8, $9, $4, $2, ready.run_ats, null, $11
    ) as e on e.ord = j.ord
    order by j.ord;
end
$$;
comment on function tidemill.enqueue_named(text[], jsonb[], text[], text[], int[], timestamptz[], interval[], uuid[], uuid[], int[], text[]) is
    'Checks jobs given by names, fills in what their kinds declare and enqueues them: their ids in order, NULL where the key is held.';

-- The wait for another open transaction that is taking the same key must end some time.
create or replace function tidemill.enqueue(
    kind text, args jsonb default '{}', queue text default null, key text default null, priority int default 0,
    run_at timestamptz default null, delay interval default null, tenant uuid default null, max_attempts int default null
) returns bigint
language plpgsql security definer
set search_path = ''
as $$
declare
    job bigint := tidemill.enqueue_named(
        array[$1], array[$2], array[$3], array[$4], array[$5], array[$6], array[$7], array[$8], array[null::uuid], array[$9], null);
begin
    if job is null then
        raise exception 'key: a live % job already holds the key %', quote_literal($1), quote_literal($4)
            using errcode = 'TM002', column = 'key';
    end if;
    return job;
end
$$;
comment on function tidemill.enqueue(text, jsonb, text, text, int, timestamptz, interval, uuid, int) is
    'Enqueues one job in the caller''s transaction and returns its id. Raises TM003 for bad input, naming the field, TM002 when a live job of the kind holds the key, 55P03 when another open transaction has been taking it for 10 s.';

create or replace function tidemill.enqueue_many(jobs jsonb) returns setof bigint
language plpgsql security definer
set search_path = ''
as $$
declare
    bad          record;
    field        text := 'jobs';
    each         jsonb[];
    run_ats      timestamptz[];
    delays       interval[];
    priorities   int[];
    max_attempts int[];
    tenants      uuid[];
    batches      uuid[];
begin
    if jsonb_typeof(jobs) is distinct from 'array' then
        perform tidemill.refuse(field, 'need to be a JSON array of objects');
    end if;
    each := array(select j from jsonb_array_elements(jobs) with ordinality as e (j, ord) order by ord);

    select e.ord, f.key, f.value, string_agg(t.type, ' or ' order by t.type) as types into bad
    from unnest(each) with ordinality as e (j, ord)
    cross join lateral jsonb_each(case jsonb_typeof(j) when 'object' then j else jsonb_build_object('jobs', j) end) as f
    left join (values
        ('kind', 'string'), ('args', 'object'), ('queue', 'string'), ('key', 'string'), ('priority', 'number'),
        ('run_at', 'string'), ('delay', 'number'), ('delay', 'string'), ('tenant', 'string'), ('batch', 'string'),
        ('max_attempts', 'number'), ('trace', 'string')
    ) as t (field, type) on t.field = f.key
    where jsonb_typeof(f.value) <> 'null' or f.key in ('args', 'jobs')
    group by e.ord, f.key, f.value
    having coalesce(bool_and(t.type <> jsonb_typeof(f.value)), true)
    order by e.ord
    limit 1;
    if found then
        perform tidemill.refuse(left(bad.key, 100), case
            when bad.types is not null then format('needs a JSON %s, not %s', bad.types, left(bad.value::text, 100))
            when bad.key = 'jobs' then format('element %s is not an object', bad.ord)
            else 'is no field of a job; there are kind, args, queue, key, priority, run_at, delay, tenant, batch, max_attempts, trace'
        end);
    end if;

    begin
        field := 'run_at';
        run_ats := array(select (j ->> 'run_at')::timestamptz from unnest(each) with ordinality as e (j, ord) order by ord);
        field := 'delay';
        delays := array(select (j ->> 'delay')::interval from unnest(each) with ordinality as e (j, ord) order by ord);
        field := 'priority';
        priorities := array(select (j ->> 'priority')::int from unnest(each) with ordinality as e (j, ord) order by ord);
        field := 'max_attempts';
        max_attempts := array(select (j ->> 'max_attempts')::int from unnest(each) with ordinality as e (j, ord) order by ord);
        field := 'tenant';
        tenants := array(select (j ->> 'tenant')::uuid from unnest(each) with ordinality as e (j, ord) order by ord);
        field := 'batch';
        batches := array(select (j ->> 'batch')::uuid from unnest(each) with ordinality as e (j, ord) order by ord);
    exception when data_exception then
        perform tidemill.refuse(field, left(sqlerrm, 300));
    end;

    return query select tidemill.enqueue_named(
        array(select j ->> 'kind' from unnest(each) with ordinality as e (j, ord) order by ord),
        array(select case when j ? 'args' then j -> 'args' else '{}' end from unnest(each) with ordinality as e (j, ord) order by ord),
        array(select j ->> 'queue' from unnest(each) with ordinality as e (j, ord) order by ord),
        array(select j ->> 'key' from unnest(each) with ordinality as e (j, ord) order by ord),
        priorities, run_ats, delays, tenants, batches, max_attempts,
        array(select j ->> 'trace' from unnest(each) with ordinality as e (j, ord) order by ord));
end
$$;
comment on function tidemill.enqueue_many(jsonb) is
    'Enqueues jobs in the caller''s transaction, all or none: an array of objects with the fields of tidemill.enqueue, batch and trace (a W3C traceparent). Returns their ids in order, NULL where the key is held; otherwise raises as tidemill.enqueue does.';

create or replace function public.tidemill_enqueue(kind text, args jsonb default '{}') returns bigint
language plpgsql volatile security definer
set search_path = ''
as $$
declare
    claim text := (select k.tenant_claim from tidemill.kind as k where k.name = $1 and k.exposed);
    tenant text := auth.jwt() ->> claim;
begin
    if claim is null then
        perform tidemill.refuse('kind', format('no job kind %L is exposed', left($1, 200)));
    end if;
    if coalesce(tenant, '') !~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' then
        raise exception 'the token has no uuid in its claim %, which is the tenant of % jobs', claim, quote_literal($1)
            using errcode = 'insufficient_privilege';
    end if;
    return tidemill.enqueue($1, $2, tenant => tenant::uuid);
end
$$;
comment on function public.tidemill_enqueue(text, jsonb) is
    'For signed-in users: enqueues a job of an exposed kind for the tenant of the caller''s token and returns its id.';


-- Rights --------------------------------------------------------------------------------------------------------------

revoke all on function tidemill.most_args_bytes(), tidemill.refuse(text, text),
    tidemill.enqueue_jobs(int[], int[], smallint[], smallint[], uuid[], uuid[], text[], jsonb[], timestamptz[], double precision[], text[]),
    tidemill.enqueue_named(text[], jsonb[], text[], text[], int[], timestamptz[], interval[], uuid[], uuid[], int[], text[]),
    tidemill.enqueue(text, jsonb, text, text, int, timestamptz, interval, uuid, int), tidemill.enqueue_many(jsonb),
    public.tidemill_enqueue(text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function tidemill.enqueue(text, jsonb, text, text, int, timestamptz, interval, uuid, int),
    tidemill.enqueue_many(jsonb) to service_role;
grant execute on function public.tidemill_enqueue(text, jsonb) to authenticated;


insert into tidemill.schema_migrations (version, name) values ('20261122000800', 'enqueue') on conflict do nothing;
