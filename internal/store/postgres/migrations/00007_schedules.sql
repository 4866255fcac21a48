-- +goose Up

-- body is the schedule as it was pushed.
CREATE TABLE schedule (
  workspace text    COLLATE "C" NOT NULL,
  path      text    COLLATE "C" NOT NULL,
  enabled   boolean NOT NULL,
  next_us   bigint  NOT NULL, -- when the run that is pushed is due; 0: none is pushed
  failed    bigint  NOT NULL, -- runs in a row that have failed; below 0: see the contract
  next_job  uuid,
  edited_us bigint  NOT NULL,
  edited_by text    COLLATE "C" NOT NULL,
  email     text    COLLATE "C" NOT NULL,
  error     bytea   NOT NULL, -- why it was disabled; '': it was not
  body      bytea   NOT NULL,
  PRIMARY KEY (workspace, path)
) WITH (fillfactor = 70);
CREATE INDEX schedule_next ON schedule (next_us) WHERE next_us > 0;

-- One row for each instant for which a run was pushed.
CREATE TABLE tick (
  workspace text   COLLATE "C" NOT NULL,
  path      text   COLLATE "C" NOT NULL,
  due_us    bigint NOT NULL,
  PRIMARY KEY (workspace, path, due_us)
);
CREATE INDEX tick_due ON tick (due_us);

-- schedule: path of the schedule that the job is a run of, '' for none.
ALTER TABLE job ADD COLUMN schedule text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX job_schedule ON job (workspace, schedule, seq) WHERE schedule <> '';
