-- +goose Up

-- Locks of inline steps that were pushed without, by the version of their flow.
CREATE TABLE flow_lock (
  n    bigint NOT NULL REFERENCES flow_version ON DELETE CASCADE,
  step text   COLLATE "C" NOT NULL,
  lock bytea  NOT NULL,
  PRIMARY KEY (n, step)
);
