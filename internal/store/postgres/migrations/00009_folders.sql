-- +goose Up

-- body is the object of what people say of the folder.
CREATE TABLE folder (
  workspace  text   COLLATE "C" NOT NULL,
  name       text   COLLATE "C" NOT NULL,
  created_by text   COLLATE "C" NOT NULL,
  edited_by  text   COLLATE "C" NOT NULL,
  edited_us  bigint NOT NULL,
  body       bytea  NOT NULL,
  PRIMARY KEY (workspace, name)
);
