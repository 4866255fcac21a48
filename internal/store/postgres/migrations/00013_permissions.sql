-- +goose Up

-- A right that somebody (u/NAME, g/NAME) was given on a thing: 1 to read it, 2 to
-- change it, 3 to own it. Those on folders follow from their owners and
-- extra_perms.
CREATE TABLE acl (
  workspace text     COLLATE "C" NOT NULL,
  kind      text     COLLATE "C" NOT NULL,
  path      text     COLLATE "C" NOT NULL,
  who       text     COLLATE "C" NOT NULL,
  level     smallint NOT NULL,
  PRIMARY KEY (workspace, kind, path, who)
);

CREATE INDEX acl_who ON acl (workspace, who, kind);

CREATE TABLE usergroup (
  workspace text COLLATE "C" NOT NULL,
  name      text COLLATE "C" NOT NULL,
  summary   text NOT NULL,
  PRIMARY KEY (workspace, name)
);

CREATE TABLE usergroup_member (
  workspace text COLLATE "C" NOT NULL,
  name      text COLLATE "C" NOT NULL,
  email     text COLLATE "C" NOT NULL,
  PRIMARY KEY (workspace, name, email)
);

CREATE INDEX usergroup_member_email ON usergroup_member (email, workspace);

-- JSON may hold what no text can; a body that cannot be read says nothing.
-- +goose StatementBegin
CREATE FUNCTION pg_temp.readable(body bytea) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  RETURN regexp_replace(replace(convert_from(body, 'UTF8'), '\\', '//'), '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '', 'g')::jsonb;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END $$;
-- +goose StatementEnd

CREATE TEMPORARY TABLE said ON COMMIT DROP AS SELECT workspace, name, pg_temp.readable(body) AS body FROM folder;

INSERT INTO acl (workspace, kind, path, who, level)
SELECT f.workspace, 'folder', f.name, p.key, CASE p.value WHEN 'true'::jsonb THEN 2 ELSE 1 END
FROM said AS f, jsonb_each(CASE jsonb_typeof(f.body -> 'extra_perms') WHEN 'object' THEN f.body -> 'extra_perms' ELSE '{}' END) AS p
WHERE jsonb_typeof(p.value) = 'boolean';

INSERT INTO acl (workspace, kind, path, who, level)
SELECT DISTINCT f.workspace, 'folder', f.name, p.value #>> '{}', 3
FROM said AS f, jsonb_array_elements(CASE jsonb_typeof(f.body -> 'owners') WHEN 'array' THEN f.body -> 'owners' ELSE '[]' END) AS p
WHERE jsonb_typeof(p.value) = 'string'
ON CONFLICT (workspace, kind, path, who) DO UPDATE SET level = 3;

-- Folders that nobody has said anything of were everybody's, and stay so until
-- somebody does.
INSERT INTO acl (workspace, kind, path, who, level)
SELECT u.workspace, 'folder', u.name, 'g/all', 2 FROM (
  SELECT workspace, split_part(path, '/', 2) AS name FROM script WHERE left(path, 2) = 'f/'
  UNION SELECT workspace, split_part(path, '/', 2) FROM flow_version WHERE left(path, 2) = 'f/'
  UNION SELECT workspace, split_part(path, '/', 2) FROM schedule WHERE left(path, 2) = 'f/'
  UNION SELECT workspace, split_part(path, '/', 2) FROM variable WHERE left(path, 2) = 'f/'
  UNION SELECT workspace, split_part(path, '/', 2) FROM resource WHERE left(path, 2) = 'f/'
  UNION SELECT workspace, name FROM said
) AS u
WHERE NOT EXISTS (SELECT 1 FROM acl WHERE acl.workspace = u.workspace AND acl.kind = 'folder' AND acl.path = u.name)
AND NOT EXISTS (SELECT 1 FROM said WHERE said.workspace = u.workspace AND said.name = u.name AND said.body IS NULL);

-- Nor were there groups: whoever is a member now goes on with what paths say is
-- a group's.
INSERT INTO usergroup (workspace, name, summary)
SELECT u.workspace, u.name, '' FROM (
  SELECT workspace, split_part(path, '/', 2) AS name FROM script WHERE left(path, 2) = 'g/'
  UNION SELECT workspace, split_part(path, '/', 2) FROM flow_version WHERE left(path, 2) = 'g/'
  UNION SELECT workspace, split_part(path, '/', 2) FROM schedule WHERE left(path, 2) = 'g/'
  UNION SELECT workspace, split_part(path, '/', 2) FROM variable WHERE left(path, 2) = 'g/'
  UNION SELECT workspace, split_part(path, '/', 2) FROM resource WHERE left(path, 2) = 'g/'
) AS u WHERE u.name NOT IN ('', 'all');

INSERT INTO usergroup_member (workspace, name, email)
SELECT usergroup.workspace, usergroup.name, member.email FROM usergroup JOIN member USING (workspace);
