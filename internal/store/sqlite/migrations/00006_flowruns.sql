-- +goose Up

-- step: id of the step of the parent flow that the job is, '' for none; step_n:
-- its iteration or branch, -1 for none; scope: the part of the root flow that a
-- flow's job runs, '' for a whole flow.
ALTER TABLE job ADD COLUMN step TEXT NOT NULL DEFAULT '';
ALTER TABLE job ADD COLUMN step_n INTEGER NOT NULL DEFAULT 0;
ALTER TABLE job ADD COLUMN scope TEXT NOT NULL DEFAULT '';
DROP INDEX job_parent;
CREATE INDEX job_parent ON job (parent, step, step_n) WHERE parent IS NOT NULL;

-- What is kept of a flow's job beside the job.
CREATE TABLE flow_run (
  job_seq  INTEGER PRIMARY KEY,
  root_seq INTEGER NOT NULL, -- of the outermost flow
  depth    INTEGER NOT NULL,
  state    BLOB    NOT NULL,
  events   BLOB,             -- what happened and was not dealt with yet
  due      INTEGER NOT NULL, -- 1: it is to be looked at now
  wake_us  INTEGER NOT NULL, -- 0: it is not to be looked at by itself
  steps    INTEGER NOT NULL  -- of an outermost flow: jobs pushed in it
);
CREATE INDEX flow_run_due  ON flow_run (due) WHERE due = 1;
CREATE INDEX flow_run_wake ON flow_run (wake_us) WHERE wake_us > 0;

-- Results of steps that are the result of no single job.
CREATE TABLE flow_result (
  job_seq INTEGER NOT NULL,
  name    TEXT    NOT NULL,
  result  BLOB    NOT NULL,
  PRIMARY KEY (job_seq, name)
) WITHOUT ROWID;

-- Results that are kept for runs alike, one in each slot.
CREATE TABLE cached (
  slot     INTEGER PRIMARY KEY,
  hash     BLOB    NOT NULL,
  until_us INTEGER NOT NULL,
  result   BLOB    NOT NULL
);
