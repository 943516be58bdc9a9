-- What the JSON API needs: answers that are given again to a request that is made again, and orders to page in.

create table if not exists tidemill.idempotency_key (
    company_id uuid not null,
    user_id    uuid not null,
    key        text not null check (length(key) between 1 and 200),
    request    bytea not null,
    status     integer,
    headers    jsonb,
    body       bytea,
    created_at timestamptz not null default tidemill.now(),
    primary key (company_id, user_id, key),
    constraint idempotency_key_answered check (num_nulls(status, headers, body) in (0, 3))
);
comment on table tidemill.idempotency_key is 'Answers of the API to requests that carried an Idempotency-Key, for 24 hours. Written in the transaction of what the request did, so neither is there without the other.';
comment on column tidemill.idempotency_key.company_id is 'The company of the caller''s token; all zeros when it named none.';
comment on column tidemill.idempotency_key.user_id is 'The caller.';
comment on column tidemill.idempotency_key.key is 'The key that he chose.';
comment on column tidemill.idempotency_key.request is 'SHA-256 of method, path and body: the same key with another request is refused.';
comment on column tidemill.idempotency_key.status is 'Status of the answer; NULL only inside the transaction that finds it.';
comment on column tidemill.idempotency_key.headers is 'Its headers that belong to it alone: Location, ETag.';
comment on column tidemill.idempotency_key.body is 'Its body as it was sent.';
comment on column tidemill.idempotency_key.created_at is 'When it was given; it counts for 24 hours (tidemill.now()).';
create index if not exists idempotency_key_created on tidemill.idempotency_key (created_at);
select tidemill.protect('tidemill.idempotency_key');

-- Each list that can be asked for has an index that gives it in its order, so that a page costs a page: a connector's runs and
-- those of one status, newest first; jobs that do not fire; what nobody has ticked off; a stream's records as they changed.
-- The jobs' is not by status, which changes three times with each run: that would cost every run four times the updates (measured).
create index if not exists idx_sync_run_logs_connector
    on public.sync_run_logs (company_id, connector_id, started_at desc, id desc);
create index if not exists idx_sync_run_logs_status
    on public.sync_run_logs (company_id, status, started_at desc, id desc);
create index if not exists sync_jobs_stopped on public.sync_jobs (company_id, id)
    where paused_at is not null or disabled_reason is not null or plan_error is not null;
create index if not exists idx_sync_notifications_unread
    on public.sync_notifications (company_id, created_at desc, id desc) where read_at is null;
create index if not exists idx_synced_records_changed
    on public.synced_records (company_id, connector_id, stream, changed_at, key);


insert into tidemill.schema_migrations (version, name) values ('20261122001950', 'api') on conflict do nothing;
