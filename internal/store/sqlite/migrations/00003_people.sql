-- +goose Up

CREATE TABLE account (
  email       TEXT PRIMARY KEY,
  username    TEXT    NOT NULL,
  password    TEXT    NOT NULL, -- hash; '': none
  super_admin INTEGER NOT NULL,
  disabled    INTEGER NOT NULL,
  created_us  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX account_username ON account (username);

CREATE TABLE member (
  workspace TEXT    NOT NULL,
  email     TEXT    NOT NULL,
  role      TEXT    NOT NULL,
  since_us  INTEGER NOT NULL,
  PRIMARY KEY (workspace, email)
) WITHOUT ROWID;
CREATE INDEX member_email ON member (email, workspace);

CREATE TABLE token (
  hash       BLOB PRIMARY KEY, -- SHA-256 of the token
  prefix     TEXT    NOT NULL,
  email      TEXT    NOT NULL,
  label      TEXT    NOT NULL,
  session    INTEGER NOT NULL,
  workspace  TEXT    NOT NULL, -- '': not bound to one
  scopes     TEXT,             -- JSON; NULL: all
  created_us INTEGER NOT NULL,
  expires_us INTEGER NOT NULL, -- 0: never
  used_us    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX token_email ON token (email, created_us);
CREATE INDEX token_expiry ON token (expires_us) WHERE expires_us > 0;

CREATE TABLE audit (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  at_us      INTEGER NOT NULL,
  workspace  TEXT    NOT NULL, -- '': the instance as a whole
  username   TEXT    NOT NULL,
  email      TEXT    NOT NULL,
  operation  TEXT    NOT NULL,
  kind       TEXT    NOT NULL,
  resource   TEXT    NOT NULL,
  address    TEXT    NOT NULL,
  token      TEXT    NOT NULL, -- prefix
  parameters TEXT    NOT NULL  -- JSON
);
CREATE INDEX audit_at ON audit (at_us);
CREATE INDEX audit_workspace ON audit (workspace, id);

ALTER TABLE workspace ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
