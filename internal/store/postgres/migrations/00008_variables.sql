-- +goose Up

-- value of a secret is sealed under the workspace's key with the number key_id;
-- key_id 0: it is no secret, and value is text.
CREATE TABLE variable (
  workspace   text   COLLATE "C" NOT NULL,
  path        text   COLLATE "C" NOT NULL,
  key_id      bigint NOT NULL,
  created_by  text   COLLATE "C" NOT NULL,
  edited_by   text   COLLATE "C" NOT NULL,
  edited_us   bigint NOT NULL,
  description bytea  NOT NULL,
  value       bytea  NOT NULL,
  PRIMARY KEY (workspace, path)
);

-- value is JSON as it was sent.
CREATE TABLE resource (
  workspace   text   COLLATE "C" NOT NULL,
  path        text   COLLATE "C" NOT NULL,
  type        text   COLLATE "C" NOT NULL,
  created_by  text   COLLATE "C" NOT NULL,
  edited_by   text   COLLATE "C" NOT NULL,
  edited_us   bigint NOT NULL,
  description bytea  NOT NULL,
  value       bytea  NOT NULL,
  PRIMARY KEY (workspace, path)
);

-- The key of a workspace's secrets, wrapped by the master key that master names.
CREATE TABLE workspace_key (
  workspace  text   COLLATE "C" NOT NULL PRIMARY KEY,
  id         bigint NOT NULL,
  created_us bigint NOT NULL,
  master     text   COLLATE "C" NOT NULL,
  wrapped    bytea  NOT NULL
);
