-- Called by: the metrics step. Index: idx_workspace_threads_posts_account_published, one account's last year.
-- Due = the slot of the last success is older than the current slot of the post's age: every run up to 72 h, hourly to
-- 90 days, daily to 180, weekly to 365, never after. Parameters: account, slot, hour's slot, day's slot, week's slot.
select id, threads_post_id
from public.workspace_threads_posts
where workspace_threads_account_id = $1 and gone_at is null
  and published_at > $2::timestamptz - interval '365 days' and published_at <= $2
  and (last_sync_batch_at is null
    or last_sync_batch_at < case
      when published_at >= $2::timestamptz - interval '72 hours' then $2
      when published_at >= $2::timestamptz - interval '90 days' then $3
      when published_at >= $2::timestamptz - interval '180 days' then $4
      else $5 end)
order by published_at desc
