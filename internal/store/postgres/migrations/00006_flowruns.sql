-- +goose Up

-- step: id of the step of the parent flow that the job is, '' for none; step_n:
-- its iteration or branch, -1 for none; scope: the part of the root flow that a
-- flow's job runs, '' for a whole flow.
ALTER TABLE job ADD COLUMN step text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN step_n integer NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN scope text COLLATE "C" NOT NULL DEFAULT '';
DROP INDEX job_parent;
CREATE INDEX job_parent ON job (parent, step, step_n, seq) WHERE parent IS NOT NULL;

-- What is kept of a flow's job beside the job.
CREATE TABLE flow_run (
  job_seq  bigint  PRIMARY KEY,
  root_seq bigint  NOT NULL, -- of the outermost flow
  depth    integer NOT NULL,
  state    bytea   NOT NULL,
  events   bytea,            -- what happened and was not dealt with yet
  due      boolean NOT NULL, -- it is to be looked at now
  wake_us  bigint  NOT NULL, -- 0: it is not to be looked at by itself
  steps    bigint  NOT NULL  -- of an outermost flow: jobs pushed in it
) WITH (fillfactor = 70);
CREATE INDEX flow_run_due  ON flow_run (job_seq) WHERE due;
CREATE INDEX flow_run_wake ON flow_run (wake_us) WHERE wake_us > 0;

-- Results of steps that are the result of no single job.
CREATE TABLE flow_result (
  job_seq bigint NOT NULL,
  name    text   COLLATE "C" NOT NULL,
  result  bytea  NOT NULL,
  PRIMARY KEY (job_seq, name)
);

-- Results that are kept for runs alike, one in each slot.
CREATE TABLE cached (
  slot     bigint PRIMARY KEY,
  hash     bytea  NOT NULL,
  until_us bigint NOT NULL,
  result   bytea  NOT NULL
);
