-- Called by: write_observed. Index: unique (account, threads_post_id), twice.
-- Fence: the caller's transaction. An unchanged post is not touched: ON CONFLICT alone would lock every row it meets, and
-- a lock is a write. Parameters, arrays side by side: workspaces, accounts and the posts.
with told as (
  select t.* from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
    as t (workspace_id, account_id, threads_post_id, published_at, text, media_type, media_url, permalink, post_type)
  where not exists (
    select from public.workspace_threads_posts p
    where p.workspace_threads_account_id = t.account_id and p.threads_post_id = t.threads_post_id and p.gone_at is null
      and (p.text, p.media_type, p.media_url, p.permalink, p.post_type)
        is not distinct from (t.text, t.media_type, t.media_url, t.permalink, t.post_type))
)
insert into public.workspace_threads_posts as p
  (workspace_id, workspace_threads_account_id, threads_post_id, published_at, text, media_type, media_url, permalink, post_type,
   first_synced_at)
select distinct on (account_id, threads_post_id) workspace_id, account_id, threads_post_id, published_at, text, media_type, media_url,
  permalink, post_type, (select tidemill.now())
from told order by account_id, threads_post_id
on conflict (workspace_threads_account_id, threads_post_id) do update
  set text = excluded.text, media_type = excluded.media_type, media_url = excluded.media_url, permalink = excluded.permalink,
      post_type = excluded.post_type, gone_at = null
