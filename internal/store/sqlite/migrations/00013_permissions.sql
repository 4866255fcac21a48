-- +goose Up

-- A right that somebody (u/NAME, g/NAME) was given on a thing: 1 to read it, 2 to
-- change it, 3 to own it. Those on folders follow from their owners and
-- extra_perms.
CREATE TABLE acl (
  workspace TEXT    NOT NULL,
  kind      TEXT    NOT NULL,
  path      TEXT    NOT NULL,
  who       TEXT    NOT NULL,
  level     INTEGER NOT NULL,
  PRIMARY KEY (workspace, kind, path, who)
) WITHOUT ROWID;

CREATE INDEX acl_who ON acl (workspace, who, kind);

CREATE TABLE usergroup (
  workspace TEXT NOT NULL,
  name      TEXT NOT NULL,
  summary   TEXT NOT NULL,
  PRIMARY KEY (workspace, name)
) WITHOUT ROWID;

CREATE TABLE usergroup_member (
  workspace TEXT NOT NULL,
  name      TEXT NOT NULL,
  email     TEXT NOT NULL,
  PRIMARY KEY (workspace, name, email)
) WITHOUT ROWID;

CREATE INDEX usergroup_member_email ON usergroup_member (email, workspace);

INSERT INTO acl (workspace, kind, path, who, level)
SELECT f.workspace, 'folder', f.name, p.key, CASE p.type WHEN 'true' THEN 2 ELSE 1 END
FROM folder AS f, json_each(CAST(f.body AS TEXT), '$.extra_perms') AS p
WHERE p.type IN ('true', 'false') AND typeof(p.key) = 'text';

INSERT INTO acl (workspace, kind, path, who, level)
SELECT f.workspace, 'folder', f.name, p.value, 3
FROM folder AS f, json_each(CAST(f.body AS TEXT), '$.owners') AS p
WHERE p.type = 'text' AND typeof(p.key) = 'integer'
ON CONFLICT DO UPDATE SET level = 3;

-- Folders that nobody has said anything of were everybody's, and stay so until
-- somebody does.
INSERT INTO acl (workspace, kind, path, who, level)
SELECT u.workspace, 'folder', u.name, 'g/all', 2 FROM (
  SELECT workspace, substr(path, 3, instr(substr(path, 3) || '/', '/') - 1) AS name FROM script WHERE substr(path, 1, 2) = 'f/'
  UNION SELECT workspace, substr(path, 3, instr(substr(path, 3) || '/', '/') - 1) FROM flow_version WHERE substr(path, 1, 2) = 'f/'
  UNION SELECT workspace, substr(path, 3, instr(substr(path, 3) || '/', '/') - 1) FROM schedule WHERE substr(path, 1, 2) = 'f/'
  UNION SELECT workspace, substr(path, 3, instr(substr(path, 3) || '/', '/') - 1) FROM variable WHERE substr(path, 1, 2) = 'f/'
  UNION SELECT workspace, substr(path, 3, instr(substr(path, 3) || '/', '/') - 1) FROM resource WHERE substr(path, 1, 2) = 'f/'
  UNION SELECT workspace, name FROM folder
) AS u
WHERE NOT EXISTS (SELECT 1 FROM acl WHERE acl.workspace = u.workspace AND acl.kind = 'folder' AND acl.path = u.name);

-- Nor were there groups: whoever is a member now goes on with what paths say is
-- a group's.
INSERT INTO usergroup (workspace, name, summary)
SELECT u.workspace, u.name, '' FROM (
  SELECT workspace, substr(path, 3, instr(substr(path, 3) || '/', '/') - 1) AS name FROM script WHERE substr(path, 1, 2) = 'g/'
  UNION SELECT workspace, substr(path, 3, instr(substr(path, 3) || '/', '/') - 1) FROM flow_version WHERE substr(path, 1, 2) = 'g/'
  UNION SELECT workspace, substr(path, 3, instr(substr(path, 3) || '/', '/') - 1) FROM schedule WHERE substr(path, 1, 2) = 'g/'
  UNION SELECT workspace, substr(path, 3, instr(substr(path, 3) || '/', '/') - 1) FROM variable WHERE substr(path, 1, 2) = 'g/'
  UNION SELECT workspace, substr(path, 3, instr(substr(path, 3) || '/', '/') - 1) FROM resource WHERE substr(path, 1, 2) = 'g/'
) AS u WHERE u.name NOT IN ('', 'all');

INSERT INTO usergroup_member (workspace, name, email)
SELECT usergroup.workspace, usergroup.name, member.email FROM usergroup JOIN member USING (workspace);
