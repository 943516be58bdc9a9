-- The life of jobs, for operators: who asked a job to stop, who paused what, and dead letters that remember their key.

create table if not exists tidemill.job_cancel (
  job bigint primary key,
  asked_at timestamptz not null default clock_timestamp(),
  asked_by text not null check (length(asked_by) between 1 and 200)
);
comment on table tidemill.job_cancel is
  'Running jobs that were asked to stop. Holds for the job, not for an attempt: one that goes back to waiting ends there. Gone with the job''s end.';
comment on column tidemill.job_cancel.job is 'The job.';
comment on column tidemill.job_cancel.asked_at is 'When it was first asked (clock_timestamp).';
comment on column tidemill.job_cancel.asked_by is 'Who asked first; goes into the history as the reason.';
select tidemill.protect('tidemill.job_cancel');

alter table tidemill.queue add column if not exists paused_by text;
comment on column tidemill.queue.paused_by is 'Who paused it.';

alter table tidemill.kind add column if not exists paused_at timestamptz, add column if not exists paused_by text;
comment on column tidemill.kind.paused_at is 'Set while no job of this kind may be claimed, from whatever queue.';
comment on column tidemill.kind.paused_by is 'Who paused it.';

alter table tidemill.job_dead add column if not exists key text;
comment on column tidemill.job_dead.key is 'The unique key it held while it lived; taken anew when it is retried.';
create index if not exists job_dead_died on tidemill.job_dead (died_at, id);

insert into tidemill.schema_migrations (version, name) values ('20261122000900', 'life') on conflict do nothing;
