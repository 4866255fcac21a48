-- +goose Up

-- body is the schedule as it was pushed.
CREATE TABLE schedule (
  workspace TEXT    NOT NULL,
  path      TEXT    NOT NULL,
  enabled   INTEGER NOT NULL,
  next_us   INTEGER NOT NULL, -- when the run that is pushed is due; 0: none is pushed
  failed    INTEGER NOT NULL, -- runs in a row that have failed; below 0: see the contract
  next_job  BLOB,
  edited_us INTEGER NOT NULL,
  edited_by TEXT    NOT NULL,
  email     TEXT    NOT NULL,
  error     TEXT    NOT NULL, -- why it was disabled; '': it was not
  body      BLOB    NOT NULL,
  PRIMARY KEY (workspace, path)
) WITHOUT ROWID;
CREATE INDEX schedule_next ON schedule (next_us) WHERE next_us > 0;

-- One row for each instant for which a run was pushed.
CREATE TABLE tick (
  workspace TEXT    NOT NULL,
  path      TEXT    NOT NULL,
  due_us    INTEGER NOT NULL,
  PRIMARY KEY (workspace, path, due_us)
) WITHOUT ROWID;
CREATE INDEX tick_due ON tick (due_us);

-- schedule: path of the schedule that the job is a run of, '' for none.
ALTER TABLE job ADD COLUMN schedule TEXT NOT NULL DEFAULT '';
CREATE INDEX job_schedule ON job (workspace, schedule, open) WHERE schedule <> '';
