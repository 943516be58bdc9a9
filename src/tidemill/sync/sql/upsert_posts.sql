-- Called by: the posts step, a page at a time. Index: unique (account, threads_post_id).
-- Fence: the caller's transaction. An unchanged post is not written. Parameters: workspace, account; arrays of the posts.
with told as (
  select * from unnest($3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
    as p (threads_post_id, published_at, text, media_type, media_url, permalink, post_type)
)
insert into public.workspace_threads_posts as p
  (workspace_id, workspace_threads_account_id, threads_post_id, published_at, text, media_type, media_url, permalink, post_type,
   first_synced_at)
select $1, $2, threads_post_id, published_at, text, media_type, media_url, permalink, post_type, tidemill.now()
from told order by threads_post_id
on conflict (workspace_threads_account_id, threads_post_id) do update
  set text = excluded.text, media_type = excluded.media_type, media_url = excluded.media_url, permalink = excluded.permalink,
      post_type = excluded.post_type, gone_at = null
  where (p.text, p.media_type, p.media_url, p.permalink, p.post_type, p.gone_at)
    is distinct from (excluded.text, excluded.media_type, excluded.media_url, excluded.permalink, excluded.post_type, null)
