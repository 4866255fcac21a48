-- +goose Up

CREATE TABLE account (
  email       text    COLLATE "C" PRIMARY KEY,
  username    text    COLLATE "C" NOT NULL,
  password    text    NOT NULL, -- hash; '': none
  super_admin boolean NOT NULL,
  disabled    boolean NOT NULL,
  created_us  bigint  NOT NULL
);
CREATE UNIQUE INDEX account_username ON account (username);

CREATE TABLE member (
  workspace text   COLLATE "C" NOT NULL,
  email     text   COLLATE "C" NOT NULL,
  role      text   NOT NULL,
  since_us  bigint NOT NULL,
  PRIMARY KEY (workspace, email)
);
CREATE INDEX member_email ON member (email, workspace);

CREATE TABLE token (
  hash       bytea   PRIMARY KEY, -- SHA-256 of the token
  prefix     text    NOT NULL,
  email      text    COLLATE "C" NOT NULL,
  label      bytea   NOT NULL,
  session    boolean NOT NULL,
  workspace  text    COLLATE "C" NOT NULL, -- '': not bound to one
  scopes     text,                         -- JSON; NULL: all
  created_us bigint  NOT NULL,
  expires_us bigint  NOT NULL, -- 0: never
  used_us    bigint  NOT NULL
);
CREATE INDEX token_email ON token (email, created_us);
CREATE INDEX token_expiry ON token (expires_us) WHERE expires_us > 0;

CREATE TABLE audit (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at_us      bigint NOT NULL,
  workspace  text   COLLATE "C" NOT NULL, -- '': the instance as a whole
  username   text   COLLATE "C" NOT NULL,
  email      text   COLLATE "C" NOT NULL,
  operation  text   COLLATE "C" NOT NULL,
  kind       text   COLLATE "C" NOT NULL,
  resource   bytea  NOT NULL,
  address    text   NOT NULL,
  token      text   NOT NULL, -- prefix
  parameters bytea  NOT NULL  -- JSON
);
CREATE INDEX audit_at ON audit (at_us);
CREATE INDEX audit_workspace ON audit (workspace, id);

ALTER TABLE workspace ADD COLUMN archived boolean NOT NULL DEFAULT false;
