-- +goose Up

-- Versions of flows. value and schema are as they were pushed, settings what
-- else was pushed.
CREATE TABLE flow_version (
  n           bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- jobs name versions by it: never used again
  workspace   text    COLLATE "C" NOT NULL,
  path        text    COLLATE "C" NOT NULL,
  summary     bytea   NOT NULL,
  description bytea   NOT NULL,
  edited_by   text    COLLATE "C" NOT NULL,
  edited_us   bigint  NOT NULL,
  archived    boolean NOT NULL,
  deleted     boolean NOT NULL, -- nobody sees it; it stays for the sake of runs
  newest      boolean NOT NULL,
  settings    bytea,
  schema      bytea,
  value       bytea   NOT NULL
);
CREATE INDEX flow_version_path    ON flow_version (workspace, path, newest) WHERE NOT deleted;
CREATE INDEX flow_version_deleted ON flow_version (n) WHERE deleted;
CREATE INDEX job_flow ON job (workspace, path, seq) WHERE kind = 'flow';
