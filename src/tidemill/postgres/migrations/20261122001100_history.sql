-- What jobs say of themselves while they run, and for how long what they leave behind is kept.

create table if not exists tidemill.job_progress (
  job bigint primary key,
  token bigint not null,
  done bigint not null check (done >= 0),
  total bigint check (total >= 0),
  note text check (length(note) <= 500),
  said_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on table tidemill.job_progress is
  'How far running jobs have got, if they say so. Holds for the attempt whose lease has the same token; gone with the attempt''s end.';
comment on column tidemill.job_progress.job is 'The job.';
comment on column tidemill.job_progress.token is 'The lease''s: what another attempt said counts for nothing.';
comment on column tidemill.job_progress.done is 'How much is done, in the handler''s own units.';
comment on column tidemill.job_progress.total is 'Of how much; null = unknown.';
comment on column tidemill.job_progress.note is 'The handler''s words.';
comment on column tidemill.job_progress.said_at is 'When it was written (clock_timestamp), at most a second after it was said.';
select tidemill.protect('tidemill.job_progress');

insert into tidemill.schema_migrations (version, name) values ('20261122001100', 'history') on conflict do nothing;
