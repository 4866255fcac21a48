-- +goose Up

-- body is the object of what people say of the folder.
CREATE TABLE folder (
  workspace  TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  created_by TEXT    NOT NULL,
  edited_by  TEXT    NOT NULL,
  edited_us  INTEGER NOT NULL,
  body       BLOB    NOT NULL,
  PRIMARY KEY (workspace, name)
) WITHOUT ROWID;
