-- +goose Up

-- Locks of inline steps that were pushed without, by the version of their flow.
CREATE TABLE flow_lock (
  n    INTEGER NOT NULL,
  step TEXT    NOT NULL,
  lock TEXT    NOT NULL,
  PRIMARY KEY (n, step)
) WITHOUT ROWID;

-- +goose StatementBegin
CREATE TRIGGER flow_lock_gone AFTER DELETE ON flow_version BEGIN
  DELETE FROM flow_lock WHERE n = OLD.n;
END;
-- +goose StatementEnd
