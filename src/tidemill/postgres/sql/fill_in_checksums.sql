-- $1 versions, $2 their sha256. Called by migrate.py for rows that another tool (psql, Supabase's) wrote: it knows no
-- checksum, and the file it applied is taken for the one shipped here. Fence: the runners' advisory lock.
update tidemill.schema_migrations s
set sha256 = f.sha256
from unnest($1::text[], $2::text[]) as f (version, sha256)
where s.version = f.version and s.sha256 is null
