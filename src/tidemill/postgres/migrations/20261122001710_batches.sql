-- Batches from SQL: opened, filled by tidemill.enqueue_many and sealed in the caller's own transaction.

create or replace function tidemill.open_batch(
    on_close text, args jsonb default '{}', deadline timestamptz default null, tenant uuid default null
) returns uuid
language plpgsql security definer
set search_path = ''
as $$
declare
    batch uuid;
begin
    if jsonb_typeof($2) is distinct from 'object' then
        perform tidemill.refuse('args', format('need to be a JSON object, not %s', coalesce(jsonb_typeof($2), 'NULL')));
    end if;
    insert into tidemill.batch (close_kind, close_queue, close_args, deadline, tenant)
    select k.id, k.queue, $2, $3, $4 from tidemill.kind as k where k.name = $1 and k.queue is not null
    returning id into batch;
    if batch is null then
        perform tidemill.refuse('on_close', format(
            'no application has declared a job kind %L here: register it and start a worker with it', left($1, 200)));
    end if;
    return batch;
end
$$;
comment on function tidemill.open_batch(text, jsonb, timestamptz, uuid) is
    'Opens a batch in the caller''s transaction; jobs join by the field batch of tidemill.enqueue_many. The kind on_close, whose job runs once it is sealed and drained, or at its deadline, must call close_batch.';

create or replace function tidemill.seal_batch(batch uuid) returns boolean
language sql security definer
set search_path = ''
as $$
    with sealed as (
        update tidemill.batch as b
        set state = case when b.finished >= b.total then 'closing' else 'sealed' end,
            reason = case when b.finished >= b.total then 'drained' end
        where b.id = $1 and b.state = 'open'
        returning b.*
    ), closing as materialized (
        select tidemill.enqueue_closing(id, reason, close_kind, close_queue, close_args, tenant) as job
        from sealed where state = 'closing'
    )
    select exists (select from sealed) and (select count(*) from closing) >= 0
$$;
comment on function tidemill.seal_batch(uuid) is
    'Says that all jobs of a batch are in, so that it may close; false when it was not open any more.';

revoke all on function tidemill.open_batch(text, jsonb, timestamptz, uuid), tidemill.seal_batch(uuid)
from public, anon, authenticated, service_role;
grant execute on function tidemill.open_batch(text, jsonb, timestamptz, uuid), tidemill.seal_batch(uuid) to service_role;


insert into tidemill.schema_migrations (version, name) values ('20261122001710', 'batches') on conflict do nothing;
