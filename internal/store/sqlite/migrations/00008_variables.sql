-- +goose Up

-- value of a secret is sealed under the workspace's key with the number key_id;
-- key_id 0: it is no secret, and value is text.
CREATE TABLE variable (
  workspace   TEXT    NOT NULL,
  path        TEXT    NOT NULL,
  key_id      INTEGER NOT NULL,
  created_by  TEXT    NOT NULL,
  edited_by   TEXT    NOT NULL,
  edited_us   INTEGER NOT NULL,
  description TEXT    NOT NULL,
  value       BLOB    NOT NULL,
  PRIMARY KEY (workspace, path)
) WITHOUT ROWID;

-- value is JSON as it was sent.
CREATE TABLE resource (
  workspace   TEXT    NOT NULL,
  path        TEXT    NOT NULL,
  type        TEXT    NOT NULL,
  created_by  TEXT    NOT NULL,
  edited_by   TEXT    NOT NULL,
  edited_us   INTEGER NOT NULL,
  description TEXT    NOT NULL,
  value       BLOB    NOT NULL,
  PRIMARY KEY (workspace, path)
) WITHOUT ROWID;

-- The key of a workspace's secrets, wrapped by the master key that master names.
CREATE TABLE workspace_key (
  workspace  TEXT    NOT NULL PRIMARY KEY,
  id         INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  master     TEXT    NOT NULL,
  wrapped    BLOB    NOT NULL
) WITHOUT ROWID;
