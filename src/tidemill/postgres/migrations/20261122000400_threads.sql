-- Threads: the connected accounts of a workspace, their sealed tokens, their posts with the newest metrics (layer 3).
--
-- A current_* column is NULL until a value was observed and is never guessed; the column with _at beside it is the slot of that value.
-- Layer 3 is written by HOT updates: no index mentions current_*, and pages are left room (at fillfactor 80 four updates in a
-- hundred still went to the indexes and a round over 25,000 posts took half as long again as at 60, for 2 MB of heap in 11).

select tidemill.claim_tables(
    '20261122000400', 'workspace_threads_accounts', 'workspace_threads_tokens', 'workspace_threads_posts'
);

create table if not exists public.workspace_threads_accounts (
    id                         uuid primary key default gen_random_uuid(),
    workspace_id               uuid not null references public.workspaces (id) on delete cascade,
    threads_user_id            text not null,
    username                   text not null,
    name                       text,
    biography                  text,
    profile_pic_url            text,
    is_verified                boolean not null default false,
    is_active                  boolean not null default true,

    current_followers_count    bigint,
    current_followers_count_at timestamptz,
    current_profile_views      bigint,
    current_profile_views_at   timestamptz,
    current_likes_count_7d     bigint,
    current_likes_count_7d_at  timestamptz,
    current_views_count_7d     bigint,
    current_views_count_7d_at  timestamptz,
    last_insights_sync_at      timestamptz,
    last_sync_batch_at         timestamptz,

    token_status               text not null default 'missing'
        check (token_status in ('valid', 'expired', 'invalid', 'user_action', 'missing')),
    token_status_at            timestamptz,
    token_status_reason        text,
    token_expires_at           timestamptz,
    reauth_told_at             timestamptz,

    disabled_steps             text[] not null default '{}'
        check (disabled_steps <@ array['sync_posts', 'sync_metrics', 'sync_account_insights']),
    posts_watermark            timestamptz,
    min_sync_interval          interval check (min_sync_interval > interval '0'),
    created_at                 timestamptz not null default now(),
    updated_at                 timestamptz not null default now(),

    unique (workspace_id, threads_user_id),
    unique (workspace_id, id)
)
with (fillfactor = 60);
comment on table public.workspace_threads_accounts is 'Threads accounts connected to a workspace; the same account may be connected to several, each time with a token of its own.';
comment on column public.workspace_threads_accounts.id is 'Identity.';
comment on column public.workspace_threads_accounts.workspace_id is 'The tenant.';
comment on column public.workspace_threads_accounts.threads_user_id is 'The provider''s id of the user.';
comment on column public.workspace_threads_accounts.username is 'The provider''s user name, as last read.';
comment on column public.workspace_threads_accounts.name is 'Display name, as last read.';
comment on column public.workspace_threads_accounts.biography is 'Biography, as last read.';
comment on column public.workspace_threads_accounts.profile_pic_url is 'Address of the picture; the provider lets it expire.';
comment on column public.workspace_threads_accounts.is_verified is 'Whether the provider shows it as verified.';
comment on column public.workspace_threads_accounts.is_active is 'Whether it is synced at all.';
comment on column public.workspace_threads_accounts.current_followers_count is 'Followers, newest observed value.';
comment on column public.workspace_threads_accounts.current_followers_count_at is 'Slot of current_followers_count.';
comment on column public.workspace_threads_accounts.current_profile_views is 'Profile views of the newest day bucket, which is partial until the day is over.';
comment on column public.workspace_threads_accounts.current_profile_views_at is 'Slot of current_profile_views.';
comment on column public.workspace_threads_accounts.current_likes_count_7d is 'Likes of the last seven days, newest observed value.';
comment on column public.workspace_threads_accounts.current_likes_count_7d_at is 'Slot of current_likes_count_7d.';
comment on column public.workspace_threads_accounts.current_views_count_7d is 'Views of the last seven days, newest observed value.';
comment on column public.workspace_threads_accounts.current_views_count_7d_at is 'Slot of current_views_count_7d.';
comment on column public.workspace_threads_accounts.last_insights_sync_at is 'When account insights were last written.';
comment on column public.workspace_threads_accounts.last_sync_batch_at is 'Newest slot that wrote account insights.';
comment on column public.workspace_threads_accounts.token_status is 'Health of the primary token: valid, expired, invalid (refused by the provider), user_action (the user must act at the provider), missing.';
comment on column public.workspace_threads_accounts.token_status_at is 'Since when token_status holds.';
comment on column public.workspace_threads_accounts.token_status_reason is 'Why, in words for the tenant; never a secret.';
comment on column public.workspace_threads_accounts.token_expires_at is 'When the primary token ends.';
comment on column public.workspace_threads_accounts.reauth_told_at is 'When the tenant was told to connect again; NULL once connected again.';
comment on column public.workspace_threads_accounts.disabled_steps is 'Steps the token lacks the permission for; emptied by connecting again.';
comment on column public.workspace_threads_accounts.posts_watermark is 'Publishing time up to which the list of posts has been read to its end; NULL means never.';
comment on column public.workspace_threads_accounts.min_sync_interval is 'Least time between two scheduled syncs; NULL means every run.';
comment on column public.workspace_threads_accounts.created_at is 'When it was connected first.';
comment on column public.workspace_threads_accounts.updated_at is 'When the row was last changed.';
-- Selection of a run pages through the active accounts by id.
create index if not exists idx_workspace_threads_accounts_active on public.workspace_threads_accounts (id) where is_active;

create table if not exists public.workspace_threads_tokens (
    id                           uuid primary key default gen_random_uuid(),
    workspace_threads_account_id uuid not null references public.workspace_threads_accounts (id) on delete cascade,
    authorized_by_user_id        uuid references auth.users (id) on delete set null,
    access_token_encrypted       text not null,
    refresh_token_encrypted      text,
    version                      integer not null default 1 check (version > 0),
    issued_at                    timestamptz not null default tidemill.now(),
    expires_at                   timestamptz not null,
    is_primary                   boolean not null default true,
    transfer_reminder_sent_at    timestamptz,
    auto_revoke_at               timestamptz,
    revoked_at                   timestamptz,
    refreshed_at                 timestamptz,
    refresh_error                text,
    refresh_error_at             timestamptz,
    created_at                   timestamptz not null default now()
);
comment on table public.workspace_threads_tokens is 'Access tokens of Threads accounts, sealed by the vault; no tenant reads this table. Health that tenants may see stands on the account.';
comment on column public.workspace_threads_tokens.id is 'Identity; part of what the seal is bound to.';
comment on column public.workspace_threads_tokens.workspace_threads_account_id is 'The account.';
comment on column public.workspace_threads_tokens.authorized_by_user_id is 'Who connected the account; NULL once that user is gone.';
comment on column public.workspace_threads_tokens.access_token_encrypted is 'The access token as the vault sealed it; never plain text.';
comment on column public.workspace_threads_tokens.refresh_token_encrypted is 'The refresh token as the vault sealed it; Threads has none.';
comment on column public.workspace_threads_tokens.version is 'Rises with every change of the sealed token; a refresh writes by compare-and-set on it.';
comment on column public.workspace_threads_tokens.issued_at is 'When the provider issued this token; one younger than 24 hours cannot be refreshed.';
comment on column public.workspace_threads_tokens.expires_at is 'When the provider lets it end.';
comment on column public.workspace_threads_tokens.is_primary is 'Whether syncs use it; at most one live token of an account.';
comment on column public.workspace_threads_tokens.transfer_reminder_sent_at is 'When the owner was reminded to hand the account over.';
comment on column public.workspace_threads_tokens.auto_revoke_at is 'When to revoke it because the member who connected it has left.';
comment on column public.workspace_threads_tokens.revoked_at is 'Revoked by us; NULL while live.';
comment on column public.workspace_threads_tokens.refreshed_at is 'Last successful refresh.';
comment on column public.workspace_threads_tokens.refresh_error is 'Why the last refresh failed, redacted; NULL after a success.';
comment on column public.workspace_threads_tokens.refresh_error_at is 'When the last refresh failed.';
comment on column public.workspace_threads_tokens.created_at is 'When the row was made.';
create unique index if not exists idx_workspace_threads_tokens_primary
    on public.workspace_threads_tokens (workspace_threads_account_id) where is_primary and revoked_at is null;
create index if not exists idx_workspace_threads_tokens_account on public.workspace_threads_tokens (workspace_threads_account_id);
create index if not exists idx_workspace_threads_tokens_authorized_by on public.workspace_threads_tokens (authorized_by_user_id);
create index if not exists idx_workspace_threads_tokens_expires on public.workspace_threads_tokens (expires_at) where revoked_at is null;

create table if not exists public.workspace_threads_posts (
    id                           uuid primary key default gen_random_uuid(),
    workspace_id                 uuid not null,
    workspace_threads_account_id uuid not null,
    threads_post_id              text not null,
    text                         text,
    media_type                   text,
    media_url                    text,
    permalink                    text,
    published_at                 timestamptz not null,
    post_type                    text not null default 'original' check (post_type in ('original', 'reply', 'quote')),
    is_reply                     boolean not null default false,
    replied_to_post_id           text,
    root_post_id                 text,

    current_views                bigint,
    current_views_at             timestamptz,
    current_likes                bigint,
    current_likes_at             timestamptz,
    current_replies              bigint,
    current_replies_at           timestamptz,
    current_reposts              bigint,
    current_reposts_at           timestamptz,
    current_quotes               bigint,
    current_quotes_at            timestamptz,
    current_shares               bigint,
    current_shares_at            timestamptz,

    -- Wide enough for the quotient of any two bigints: a young post may show one view and any number of likes.
    engagement_rate              numeric(30, 4) generated always as (
        case when current_views = 0 then 0 else round(
            100 * (current_likes::numeric + current_replies + current_reposts + current_quotes) / current_views, 4) end
    ) stored,
    reply_rate                   numeric(30, 4) generated always as (
        case when current_views = 0 then 0 else round(100 * current_replies::numeric / current_views, 4) end
    ) stored,
    repost_rate                  numeric(30, 4) generated always as (
        case when current_views = 0 then 0 else round(100 * current_reposts::numeric / current_views, 4) end
    ) stored,
    quote_rate                   numeric(30, 4) generated always as (
        case when current_views = 0 then 0 else round(100 * current_quotes::numeric / current_views, 4) end
    ) stored,
    virality_score               numeric(30, 2) generated always as (
        case when current_views = 0 then 0 else round(
            100 * (3 * current_replies::numeric + 2.5 * current_reposts + 2 * current_quotes::numeric + current_likes)
            / current_views, 2) end
    ) stored,

    last_metrics_sync_at         timestamptz,
    last_sync_batch_at           timestamptz,
    first_synced_at              timestamptz not null default now(),
    gone_at                      timestamptz,
    created_at                   timestamptz not null default now(),
    updated_at                   timestamptz not null default now(),

    unique (workspace_threads_account_id, threads_post_id),
    unique (workspace_id, id),
    -- A post cannot stand in another workspace than its account.
    foreign key (workspace_id, workspace_threads_account_id)
        references public.workspace_threads_accounts (workspace_id, id) on delete cascade
)
with (fillfactor = 60);
comment on table public.workspace_threads_posts is 'Posts of Threads accounts, with the newest known metrics (layer 3).';
comment on column public.workspace_threads_posts.id is 'Identity.';
comment on column public.workspace_threads_posts.workspace_id is 'The tenant; always that of the account.';
comment on column public.workspace_threads_posts.workspace_threads_account_id is 'The account.';
comment on column public.workspace_threads_posts.threads_post_id is 'The provider''s id of the post.';
comment on column public.workspace_threads_posts.text is 'Text, as last read.';
comment on column public.workspace_threads_posts.media_type is 'The provider''s word: TEXT_POST, IMAGE, VIDEO, CAROUSEL_ALBUM, AUDIO, REPOST_FACADE.';
comment on column public.workspace_threads_posts.media_url is 'Address of the medium; the provider lets it expire.';
comment on column public.workspace_threads_posts.permalink is 'Public address; the provider leaves it out for some posts.';
comment on column public.workspace_threads_posts.published_at is 'When it was published; its age decides how often metrics are read.';
comment on column public.workspace_threads_posts.post_type is 'original, reply or quote.';
comment on column public.workspace_threads_posts.is_reply is 'Whether it answers another post.';
comment on column public.workspace_threads_posts.replied_to_post_id is 'The provider''s id of the post it answers.';
comment on column public.workspace_threads_posts.root_post_id is 'The provider''s id of the post the conversation began with.';
comment on column public.workspace_threads_posts.current_views is 'Views, newest observed value.';
comment on column public.workspace_threads_posts.current_views_at is 'Slot of current_views.';
comment on column public.workspace_threads_posts.current_likes is 'Likes, newest observed value.';
comment on column public.workspace_threads_posts.current_likes_at is 'Slot of current_likes.';
comment on column public.workspace_threads_posts.current_replies is 'Replies, newest observed value.';
comment on column public.workspace_threads_posts.current_replies_at is 'Slot of current_replies.';
comment on column public.workspace_threads_posts.current_reposts is 'Reposts, newest observed value.';
comment on column public.workspace_threads_posts.current_reposts_at is 'Slot of current_reposts.';
comment on column public.workspace_threads_posts.current_quotes is 'Quotes, newest observed value.';
comment on column public.workspace_threads_posts.current_quotes_at is 'Slot of current_quotes.';
comment on column public.workspace_threads_posts.current_shares is 'Shares, newest observed value.';
comment on column public.workspace_threads_posts.current_shares_at is 'Slot of current_shares.';
comment on column public.workspace_threads_posts.engagement_rate is '(likes + replies + reposts + quotes) / views, in percent; 0 without views, NULL while any of them is unknown.';
comment on column public.workspace_threads_posts.reply_rate is 'replies / views, in percent; 0 without views, NULL while either is unknown.';
comment on column public.workspace_threads_posts.repost_rate is 'reposts / views, in percent; 0 without views, NULL while either is unknown.';
comment on column public.workspace_threads_posts.quote_rate is 'quotes / views, in percent; 0 without views, NULL while either is unknown.';
comment on column public.workspace_threads_posts.virality_score is '(3 replies + 2.5 reposts + 2 quotes + likes) / views * 100; 0 without views, NULL while any of them is unknown.';
comment on column public.workspace_threads_posts.last_metrics_sync_at is 'When metrics were last written.';
comment on column public.workspace_threads_posts.last_sync_batch_at is 'Newest slot with a snapshot; the post is due again when the current slot of its age is later.';
comment on column public.workspace_threads_posts.first_synced_at is 'When we first saw it.';
comment on column public.workspace_threads_posts.gone_at is 'Since when the provider denies that it exists; its metrics are read no more.';
comment on column public.workspace_threads_posts.created_at is 'When the row was made.';
comment on column public.workspace_threads_posts.updated_at is 'When the row was last changed.';
-- Due posts of an account, newest first; also what the cascade from the account deletes by.
create index if not exists idx_workspace_threads_posts_account_published
    on public.workspace_threads_posts (workspace_threads_account_id, published_at desc);
-- A workspace's posts in order, under row security.
create index if not exists idx_workspace_threads_posts_workspace_published
    on public.workspace_threads_posts (workspace_id, published_at desc);

create or replace trigger touch_updated_at before update on public.workspace_threads_accounts
    for each row execute function tidemill.touch_updated_at();
-- Layer 3 is written by one statement for all posts of an account and sets the column itself.
create or replace trigger touch_updated_at before update on public.workspace_threads_posts
    for each row when (new.updated_at = old.updated_at) execute function tidemill.touch_updated_at();


-- Row security: members read accounts and posts; tokens are nobody's but the engine's ---------------------------------

select tidemill.protect('public.workspace_threads_accounts');
select tidemill.protect('public.workspace_threads_tokens');
select tidemill.protect('public.workspace_threads_posts');

grant select, insert, update, delete on
    public.workspace_threads_accounts, public.workspace_threads_tokens, public.workspace_threads_posts to service_role;
grant select on public.workspace_threads_accounts, public.workspace_threads_posts to authenticated;

drop policy if exists "Accounts readable by members" on public.workspace_threads_accounts;
create policy "Accounts readable by members" on public.workspace_threads_accounts for select to authenticated
    using (workspace_id = any (array(select public.my_workspace_ids())));

drop policy if exists "Posts readable by members" on public.workspace_threads_posts;
create policy "Posts readable by members" on public.workspace_threads_posts for select to authenticated
    using (workspace_id = any (array(select public.my_workspace_ids())));


insert into tidemill.schema_migrations (version, name) values ('20261122000400', 'threads') on conflict do nothing;
