-- +goose Up

-- Versions of flows. value and schema are as they were pushed, settings what
-- else was pushed.
CREATE TABLE flow_version (
  n           INTEGER PRIMARY KEY AUTOINCREMENT, -- jobs name versions by it: never used again
  workspace   TEXT    NOT NULL,
  path        TEXT    NOT NULL,
  summary     TEXT    NOT NULL,
  description TEXT    NOT NULL,
  edited_by   TEXT    NOT NULL,
  edited_us   INTEGER NOT NULL,
  archived    INTEGER NOT NULL,
  deleted     INTEGER NOT NULL, -- 1: nobody sees it; it stays for the sake of runs
  newest      INTEGER NOT NULL,
  settings    BLOB,
  schema      BLOB,
  value       BLOB    NOT NULL
);
CREATE INDEX flow_version_path    ON flow_version (workspace, path, newest) WHERE deleted = 0;
CREATE INDEX flow_version_deleted ON flow_version (n) WHERE deleted = 1;
CREATE INDEX job_flow ON job (workspace, path) WHERE open = 1 AND kind = 'flow';
