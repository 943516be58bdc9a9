-- Three layers of metric history: snapshots as observed (L1), their differences (L2), the newest known values (L3, the current_*
-- columns of posts and accounts). tidemill.sync.layers writes all three in the caller's transaction; nothing else may.
--
-- A slot (sync_batch_at) is the logical time of a snapshot, captured_at the real one. A missing value is NULL in every layer.
-- Snapshots are partitioned by month of the slot (UTC); the partitions live in schema tidemill, which no API exposes.

select tidemill.claim_tables(
    '20261122000500',
    'workspace_threads_post_metrics', 'workspace_threads_post_metrics_live', 'workspace_threads_post_metrics_deltas',
    'workspace_threads_account_insights', 'workspace_threads_account_insights_live',
    'workspace_threads_account_insights_deltas', 'workspace_threads_account_views_days'
);


-- Posts ---------------------------------------------------------------------------------------------------------------

create table if not exists public.workspace_threads_post_metrics (
    id                        uuid not null default gen_random_uuid(),
    workspace_id              uuid not null,
    workspace_threads_post_id uuid not null,
    views                     bigint,
    likes                     bigint,
    replies                   bigint,
    reposts                   bigint,
    quotes                    bigint,
    shares                    bigint,
    captured_at               timestamptz not null default tidemill.now(),
    sync_batch_at             timestamptz not null,
    revision                  integer not null default 1 check (revision > 0),
    primary key (workspace_threads_post_id, sync_batch_at, revision),
    -- A snapshot cannot stand in another workspace than its post.
    foreign key (workspace_id, workspace_threads_post_id)
        references public.workspace_threads_posts (workspace_id, id) on delete cascade
) partition by range (sync_batch_at);
comment on table public.workspace_threads_post_metrics is
    'Layer 1: what the provider said of a post at a slot, kept as it was said. Append-only; a correction is a new revision. Readers want the _live view.';
comment on column public.workspace_threads_post_metrics.id is 'Identity for references from outside; not indexed, the key is (post, slot, revision).';
comment on column public.workspace_threads_post_metrics.workspace_id is 'Tenant; the post''s.';
comment on column public.workspace_threads_post_metrics.workspace_threads_post_id is 'The post.';
comment on column public.workspace_threads_post_metrics.views is 'Lifetime views; NULL when the provider did not say.';
comment on column public.workspace_threads_post_metrics.likes is 'Lifetime likes; NULL when the provider did not say.';
comment on column public.workspace_threads_post_metrics.replies is 'Lifetime replies; NULL when the provider did not say.';
comment on column public.workspace_threads_post_metrics.reposts is 'Lifetime reposts; NULL when the provider did not say.';
comment on column public.workspace_threads_post_metrics.quotes is 'Lifetime quotes; NULL when the provider did not say.';
comment on column public.workspace_threads_post_metrics.shares is 'Lifetime shares; NULL when the provider did not say.';
comment on column public.workspace_threads_post_metrics.captured_at is 'When the row was written, by Tidemill''s clock.';
comment on column public.workspace_threads_post_metrics.sync_batch_at is 'The slot; group charts by it.';
comment on column public.workspace_threads_post_metrics.revision is '1 as first observed; the highest of a slot counts.';

create table if not exists tidemill.workspace_threads_post_metrics_default
    partition of public.workspace_threads_post_metrics default;
comment on table tidemill.workspace_threads_post_metrics_default is 'Snapshots whose month has no partition, so that no write fails for want of one.';

create or replace view public.workspace_threads_post_metrics_live with (security_invoker = true) as
    -- The formulas of workspace_threads_posts. Derived here and not stored: a snapshot keeps what was said, and a fifth of
    -- the time that writing one took went into rates that few rows are ever asked for.
    select m.*,
        case when views = 0 then 0 else round(100 * (likes::numeric + replies + reposts + quotes) / views, 4) end
            as engagement_rate,
        case when views = 0 then 0 else round(100 * replies::numeric / views, 4) end as reply_rate,
        case when views = 0 then 0 else round(100 * reposts::numeric / views, 4) end as repost_rate,
        case when views = 0 then 0 else round(100 * quotes::numeric / views, 4) end as quote_rate,
        case when views = 0 then 0 else round(
            100 * (3 * replies::numeric + 2.5 * reposts + 2 * quotes::numeric + likes) / views, 2) end as virality_score
    from public.workspace_threads_post_metrics as m
    where not exists (
        select
        from public.workspace_threads_post_metrics as newer
        where newer.workspace_threads_post_id = m.workspace_threads_post_id
          and newer.sync_batch_at = m.sync_batch_at
          and newer.revision > m.revision
    );
comment on view public.workspace_threads_post_metrics_live is 'Layer 1 as it counts: the newest revision of every slot, with its rates.';

create table if not exists public.workspace_threads_post_metrics_deltas (
    workspace_id              uuid not null,
    workspace_threads_post_id uuid not null,
    period_start              timestamptz not null,
    period_end                timestamptz not null,
    views_delta               bigint,
    likes_delta               bigint,
    replies_delta             bigint,
    reposts_delta             bigint,
    quotes_delta              bigint,
    shares_delta              bigint,
    is_baseline               boolean not null default false,
    is_recalculated           boolean not null default false,
    sync_batch_at             timestamptz not null,
    created_at                timestamptz not null default tidemill.now(),
    primary key (workspace_threads_post_id, sync_batch_at),
    foreign key (workspace_id, workspace_threads_post_id)
        references public.workspace_threads_posts (workspace_id, id) on delete cascade,
    check (period_start <= period_end)
);
create index if not exists idx_workspace_threads_post_metrics_deltas_workspace
    on public.workspace_threads_post_metrics_deltas (workspace_id, sync_batch_at);
comment on table public.workspace_threads_post_metrics_deltas is
    'Layer 2: one row per live snapshot. A delta is the value less the last known value before it; unknown stays NULL, a fall is negative.';
comment on column public.workspace_threads_post_metrics_deltas.workspace_id is 'Tenant; the post''s.';
comment on column public.workspace_threads_post_metrics_deltas.workspace_threads_post_id is 'The post.';
comment on column public.workspace_threads_post_metrics_deltas.period_start is 'Slot of the snapshot before; the post''s publication (the slot itself, if that is earlier) for the first one.';
comment on column public.workspace_threads_post_metrics_deltas.period_end is 'Slot of the snapshot.';
comment on column public.workspace_threads_post_metrics_deltas.views_delta is 'Change of views since they were last known; from zero on the first snapshot.';
comment on column public.workspace_threads_post_metrics_deltas.likes_delta is 'Change of likes since they were last known; from zero on the first snapshot.';
comment on column public.workspace_threads_post_metrics_deltas.replies_delta is 'Change of replies since they were last known; from zero on the first snapshot.';
comment on column public.workspace_threads_post_metrics_deltas.reposts_delta is 'Change of reposts since they were last known; from zero on the first snapshot.';
comment on column public.workspace_threads_post_metrics_deltas.quotes_delta is 'Change of quotes since they were last known; from zero on the first snapshot.';
comment on column public.workspace_threads_post_metrics_deltas.shares_delta is 'Change of shares since they were last known; from zero on the first snapshot.';
comment on column public.workspace_threads_post_metrics_deltas.is_baseline is 'First snapshot of a post already 30 minutes old or more: its deltas are a starting level, not growth.';
comment on column public.workspace_threads_post_metrics_deltas.is_recalculated is 'Changed after it was first written, by a late or corrected snapshot.';
comment on column public.workspace_threads_post_metrics_deltas.sync_batch_at is 'The slot; the same as period_end.';
comment on column public.workspace_threads_post_metrics_deltas.created_at is 'When the row was first written, by Tidemill''s clock.';


-- Accounts ------------------------------------------------------------------------------------------------------------

create table if not exists public.workspace_threads_account_insights (
    id                           uuid not null default gen_random_uuid(),
    workspace_id                 uuid not null,
    workspace_threads_account_id uuid not null,
    followers_count              bigint,
    profile_views                bigint,
    likes_count_7d               bigint,
    views_count_7d               bigint,
    demographics                 jsonb,
    captured_at                  timestamptz not null default tidemill.now(),
    sync_batch_at                timestamptz not null,
    revision                     integer not null default 1 check (revision > 0),
    primary key (workspace_threads_account_id, sync_batch_at, revision),
    -- A snapshot cannot stand in another workspace than its account.
    foreign key (workspace_id, workspace_threads_account_id)
        references public.workspace_threads_accounts (workspace_id, id) on delete cascade
) partition by range (sync_batch_at);
comment on table public.workspace_threads_account_insights is
    'Layer 1: what the provider said of an account at a slot, kept as it was said. Append-only; a correction is a new revision. Readers want the _live view.';
comment on column public.workspace_threads_account_insights.id is 'Identity for references from outside; not indexed, the key is (account, slot, revision).';
comment on column public.workspace_threads_account_insights.workspace_id is 'Tenant; the account''s.';
comment on column public.workspace_threads_account_insights.workspace_threads_account_id is 'The account.';
comment on column public.workspace_threads_account_insights.followers_count is 'Followers; NULL when the provider did not say.';
comment on column public.workspace_threads_account_insights.profile_views is 'Views of the day that was running, as far as it had got; whole days stand in workspace_threads_account_views_days.';
comment on column public.workspace_threads_account_insights.likes_count_7d is 'Likes in the seven days before; NULL when the provider did not say.';
comment on column public.workspace_threads_account_insights.views_count_7d is 'Views in the seven days before; NULL when the provider did not say.';
comment on column public.workspace_threads_account_insights.demographics is 'Followers by country, age and so on, in the provider''s words; NULL when it did not say.';
comment on column public.workspace_threads_account_insights.captured_at is 'When the row was written, by Tidemill''s clock.';
comment on column public.workspace_threads_account_insights.sync_batch_at is 'The slot; group charts by it.';
comment on column public.workspace_threads_account_insights.revision is '1 as first observed; the highest of a slot counts.';

create table if not exists tidemill.workspace_threads_account_insights_default
    partition of public.workspace_threads_account_insights default;
comment on table tidemill.workspace_threads_account_insights_default is 'Snapshots whose month has no partition, so that no write fails for want of one.';

create or replace view public.workspace_threads_account_insights_live with (security_invoker = true) as
    select i.*
    from public.workspace_threads_account_insights as i
    where not exists (
        select
        from public.workspace_threads_account_insights as newer
        where newer.workspace_threads_account_id = i.workspace_threads_account_id
          and newer.sync_batch_at = i.sync_batch_at
          and newer.revision > i.revision
    );
comment on view public.workspace_threads_account_insights_live is 'Layer 1 as it counts: the newest revision of every slot.';

create table if not exists public.workspace_threads_account_insights_deltas (
    workspace_id                 uuid not null,
    workspace_threads_account_id uuid not null,
    period_start                 timestamptz,
    period_end                   timestamptz not null,
    followers_delta              bigint,
    profile_views_delta          bigint check (profile_views_delta is null),
    likes_count_7d_delta         bigint,
    views_count_7d_delta         bigint,
    is_recalculated              boolean not null default false,
    sync_batch_at                timestamptz not null,
    created_at                   timestamptz not null default tidemill.now(),
    primary key (workspace_threads_account_id, sync_batch_at),
    foreign key (workspace_id, workspace_threads_account_id)
        references public.workspace_threads_accounts (workspace_id, id) on delete cascade,
    check (period_start <= period_end)
);
create index if not exists idx_workspace_threads_account_insights_deltas_workspace
    on public.workspace_threads_account_insights_deltas (workspace_id, sync_batch_at);
comment on table public.workspace_threads_account_insights_deltas is
    'Layer 2: one row per live snapshot. A delta is the value less the last known value before it; unknown stays NULL, a fall is negative.';
comment on column public.workspace_threads_account_insights_deltas.workspace_id is 'Tenant; the account''s.';
comment on column public.workspace_threads_account_insights_deltas.workspace_threads_account_id is 'The account.';
comment on column public.workspace_threads_account_insights_deltas.period_start is 'Slot of the snapshot before; NULL for the first one, since a level has no birth to count from.';
comment on column public.workspace_threads_account_insights_deltas.period_end is 'Slot of the snapshot.';
comment on column public.workspace_threads_account_insights_deltas.followers_delta is 'Change of followers_count since it was last known.';
comment on column public.workspace_threads_account_insights_deltas.profile_views_delta is
    'Always NULL: profile_views is a part of a day and starts again each day, so a difference of two means nothing; see workspace_threads_account_views_days.';
comment on column public.workspace_threads_account_insights_deltas.likes_count_7d_delta is 'Change of the seven-day window since it was last known.';
comment on column public.workspace_threads_account_insights_deltas.views_count_7d_delta is 'Change of the seven-day window since it was last known.';
comment on column public.workspace_threads_account_insights_deltas.is_recalculated is 'Changed after it was first written, by a late or corrected snapshot.';
comment on column public.workspace_threads_account_insights_deltas.sync_batch_at is 'The slot; the same as period_end.';
comment on column public.workspace_threads_account_insights_deltas.created_at is 'When the row was first written, by Tidemill''s clock.';

create table if not exists public.workspace_threads_account_views_days (
    workspace_id                 uuid not null,
    workspace_threads_account_id uuid not null,
    end_time                     timestamptz not null,
    views                        bigint not null,
    sync_batch_at                timestamptz not null,
    first_seen_at                timestamptz not null default tidemill.now(),
    updated_at                   timestamptz not null default tidemill.now(),
    primary key (workspace_threads_account_id, end_time),
    foreign key (workspace_id, workspace_threads_account_id)
        references public.workspace_threads_accounts (workspace_id, id) on delete cascade
);
create index if not exists idx_workspace_threads_account_views_days_workspace
    on public.workspace_threads_account_views_days (workspace_id, end_time);
comment on table public.workspace_threads_account_views_days is 'Views of an account by the provider''s days. The running day grows with every sync; the newest observation of a day wins.';
comment on column public.workspace_threads_account_views_days.workspace_id is 'Tenant; the account''s.';
comment on column public.workspace_threads_account_views_days.workspace_threads_account_id is 'The account.';
comment on column public.workspace_threads_account_views_days.end_time is 'End of the day as the provider names it.';
comment on column public.workspace_threads_account_views_days.views is 'Views on that day, as far as it had got when last observed.';
comment on column public.workspace_threads_account_views_days.sync_batch_at is 'Slot of the observation that counts; it only moves forward.';
comment on column public.workspace_threads_account_views_days.first_seen_at is 'When the day was first observed, by Tidemill''s clock.';
comment on column public.workspace_threads_account_views_days.updated_at is 'When the row was last written, by Tidemill''s clock.';


-- Append-only ---------------------------------------------------------------------------------------------------------

create or replace function tidemill.refuse_change() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    raise exception '% of %.% refused: snapshots are append-only', tg_op, tg_table_schema, tg_table_name
        using errcode = 'restrict_violation',
              hint = 'Write a new revision; to forget history, delete its post or account, or drop its partition.';
end
$$;
comment on function tidemill.refuse_change() is 'Trigger: nobody changes what was observed.';
revoke all on function tidemill.refuse_change() from public;

-- Depth 0 is a statement somebody sent; a cascade from a deleted post, account or workspace runs inside a trigger and passes.
create or replace trigger append_only before update or delete on public.workspace_threads_post_metrics
    for each row when (pg_trigger_depth() = 0) execute function tidemill.refuse_change();
create or replace trigger append_only_truncate before truncate on public.workspace_threads_post_metrics
    for each statement execute function tidemill.refuse_change();
create or replace trigger append_only before update or delete on public.workspace_threads_account_insights
    for each row when (pg_trigger_depth() = 0) execute function tidemill.refuse_change();
create or replace trigger append_only_truncate before truncate on public.workspace_threads_account_insights
    for each statement execute function tidemill.refuse_change();


-- Partitions ----------------------------------------------------------------------------------------------------------

create or replace function tidemill.guard_partition(parent regclass, partition regclass) returns void
language plpgsql
set search_path = ''
as $$
-- What a partition does not inherit: row security, closed grants, and triggers per statement.
begin
    perform tidemill.protect(partition);
    if exists (select from pg_trigger where tgrelid = parent and tgname = 'append_only_truncate') then
        execute format(
            'create or replace trigger append_only_truncate before truncate on %s for each statement execute function tidemill.refuse_change()',
            partition
        );
    end if;
end
$$;
comment on function tidemill.guard_partition(regclass, regclass) is 'Closes a partition as its parent is closed, since grants and row security are not inherited.';
revoke all on function tidemill.guard_partition(regclass, regclass) from public, anon, authenticated, service_role;

create or replace function tidemill.ensure_partitions(ahead interval default '1 month')
returns table (parent text, partition text, outcome text)
language plpgsql security definer
set search_path = ''
set lock_timeout = '500ms' -- below deadlock_timeout: in a deadlock it is this that gives way, never a tenant's work
as $$
-- Makes the spans (UTC) from the current one to that of now + ahead: months, but weeks of job_run, which at hundreds of jobs a second
-- is too much to keep by the month. Only a span that is missing takes locks, briefly: attaching lets writers of the parent go on, but
-- the foreign key needs its target for a moment. That target is locked first: taken last, it would deadlock with a writer that holds
-- a post and waits for the DEFAULT partition.
declare
    wanted   record;
    target   regclass;
    spare    regclass;
    occupied boolean;
begin
    if ahead is null or ahead < interval '0' or ahead > interval '2 years' then
        raise exception 'ahead must be between nothing and two years' using errcode = 'invalid_parameter_value';
    end if;
    -- One maker at a time; whoever waited finds the work done.
    perform pg_advisory_xact_lock(hashtextextended('tidemill.ensure_partitions', 0));
    for wanted in
        select p.relation, p.key, s.starts_at, s.starts_at + p.span as ends_at, s.starts_at <= p.now at time zone 'UTC' as has_begun,
               to_char(s.starts_at, p.label) as label, format('%s_%s', c.relname, to_char(s.starts_at, p.label)) as name
        from (values
            ('public.workspace_threads_post_metrics'::regclass, 'sync_batch_at', 'month', interval '1 month', 'YYYYMM', tidemill.now()),
            ('public.workspace_threads_account_insights', 'sync_batch_at', 'month', '1 month', 'YYYYMM', tidemill.now()),
            ('tidemill.job_run', 'finished_at', 'week', '1 week', 'IYYY"w"IW', clock_timestamp())
        ) as p (relation, key, unit, span, label, now)
        join pg_class as c on c.oid = p.relation
        cross join generate_series(
            date_trunc(p.unit, p.now at time zone 'UTC'), (p.now + ahead) at time zone 'UTC', p.span
        ) as s (starts_at)
        order by p.relation, s.starts_at
    loop
        parent := wanted.relation::text;
        partition := format('tidemill.%I', wanted.name);
        outcome := 'exists';
        -- Not to_regclass: its cached answer may be older than the wait for the lock.
        if not exists (select from pg_class where relnamespace = 'tidemill'::regnamespace and relname = wanted.name) then
            select partdefid::regclass into spare from pg_partitioned_table where partrelid = wanted.relation;
            execute format('select exists (select from %s where %I >= $1 and %I < $2)', spare, wanted.key, wanted.key)
                into occupied using wanted.starts_at at time zone 'UTC', wanted.ends_at at time zone 'UTC';
            outcome := 'default_holds_rows';
            if not occupied then
                for target in
                    select distinct confrelid from pg_constraint where conrelid = wanted.relation and contype = 'f' order by 1
                loop
                    execute format('lock table %s in share row exclusive mode', target);
                end loop;
                begin
                    -- Its rows are on their way: one that was routed to the DEFAULT partition would be refused there afterwards.
                    if wanted.has_begun then
                        execute format('lock table %s in share row exclusive mode', wanted.relation);
                    end if;
                    execute format('create table %s (like %s including all)', partition, wanted.relation);
                    execute format(
                        'alter table %s attach partition %s for values from (%L) to (%L)', wanted.relation, partition,
                        wanted.starts_at at time zone 'UTC', wanted.ends_at at time zone 'UTC'
                    );
                    perform tidemill.guard_partition(wanted.relation, partition::regclass);
                    execute format('comment on table %s is %L', partition, format('%s (UTC) of %s', wanted.label, parent));
                    outcome := 'created';
                exception
                    when check_violation then -- a row of that span went to the DEFAULT partition since we looked
                        outcome := 'default_holds_rows';
                    when invalid_object_definition then -- somebody made one of another length by hand
                        outcome := 'overlaps';
                end;
            end if;
        end if;
        return next;
    end loop;
end
$$;
comment on function tidemill.ensure_partitions(interval) is
    'Makes the partitions from now to now + ahead, by the month, of job_run by the week. Outcomes: created, exists, default_holds_rows (that span stays in the DEFAULT partition), overlaps (another one has a part of it).';
revoke all on function tidemill.ensure_partitions(interval) from public, anon, authenticated;
grant execute on function tidemill.ensure_partitions(interval) to service_role;


-- Row security: members read, nobody but the engine and service_role writes ------------------------------------------------

do $$
declare
    relation text;
    parent   regclass;
    seen     record;
begin
    foreach relation in array array[
        'public.workspace_threads_post_metrics', 'public.workspace_threads_post_metrics_deltas',
        'public.workspace_threads_account_insights', 'public.workspace_threads_account_insights_deltas',
        'public.workspace_threads_account_views_days'
    ] loop
        perform tidemill.protect(relation::regclass);
        execute format('grant select on %s to authenticated', relation);
        execute format('grant select, insert, update, delete on %s to service_role', relation);
        execute format('drop policy if exists "Readable by members" on %s', relation);
        execute format(
            'create policy "Readable by members" on %s for select to authenticated '
            'using (workspace_id = any (array(select public.my_workspace_ids())))',
            relation
        );
    end loop;

    foreach relation in array array['workspace_threads_post_metrics', 'workspace_threads_account_insights'] loop
        parent := ('public.' || relation)::regclass;
        perform tidemill.guard_partition(parent, ('tidemill.' || relation || '_default')::regclass);
        execute format('revoke all on public.%I_live from public, anon, authenticated, service_role', relation);
        execute format('grant select on public.%I_live to authenticated, service_role', relation);
        for seen in
            select attname, col_description(parent, attnum) as description
            from pg_attribute where attrelid = parent and attnum > 0 and not attisdropped
        loop
            execute format('comment on column public.%I_live.%I is %L', relation, seen.attname, seen.description);
            execute format('comment on column tidemill.%I_default.%I is %L', relation, seen.attname, seen.description);
        end loop;
    end loop;

    perform tidemill.ensure_partitions();
end
$$;


insert into tidemill.schema_migrations (version, name) values ('20261122000500', 'layers') on conflict do nothing;
