CREATE TABLE account (
  email       TEXT PRIMARY KEY,
  username    TEXT    NOT NULL,
  password    TEXT    NOT NULL, -- hash; '': none
  super_admin INTEGER NOT NULL,
  disabled    INTEGER NOT NULL,
  created_us  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE UNIQUE INDEX account_username ON account (username);

CREATE TABLE acl (
  workspace TEXT    NOT NULL,
  kind      TEXT    NOT NULL,
  path      TEXT    NOT NULL,
  who       TEXT    NOT NULL,
  level     INTEGER NOT NULL,
  PRIMARY KEY (workspace, kind, path, who)
) WITHOUT ROWID;

CREATE INDEX acl_who ON acl (workspace, who, kind);

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

CREATE TABLE cached (
  slot     INTEGER PRIMARY KEY,
  hash     BLOB    NOT NULL,
  until_us INTEGER NOT NULL,
  result   BLOB    NOT NULL
);

CREATE TABLE execution (
  id              INTEGER PRIMARY KEY,
  ended           INTEGER NOT NULL,
  launch_no       INTEGER NOT NULL,
  end_no          INTEGER NOT NULL,
  confirmed_us    INTEGER NOT NULL,
  released_us     INTEGER NOT NULL,
  done_us         INTEGER NOT NULL,
  kill_us         INTEGER NOT NULL,
  group_id        INTEGER NOT NULL, -- 0: in no group
  order_no        INTEGER NOT NULL,
  job_seq         INTEGER NOT NULL,
  job_id          BLOB    NOT NULL,
  attempt         INTEGER NOT NULL,
  worker          TEXT    NOT NULL,
  take_no         INTEGER NOT NULL,
  tag             TEXT    NOT NULL,
  limit_n         INTEGER NOT NULL,
  limit_window_us INTEGER NOT NULL,
  limit_mode      TEXT    NOT NULL,
  source          TEXT    NOT NULL,
  started_us      INTEGER NOT NULL
);

CREATE INDEX execution_done ON execution (done_us) WHERE done_us > 0;

CREATE UNIQUE INDEX execution_end ON execution (group_id, end_no) WHERE end_no > 0;

CREATE INDEX execution_held ON execution (group_id, order_no) WHERE ended = 0 AND group_id > 0;

CREATE INDEX execution_job ON execution (job_seq, attempt);

CREATE UNIQUE INDEX execution_launch ON execution (group_id, launch_no) WHERE launch_no > 0;

CREATE UNIQUE INDEX execution_order ON execution (group_id, order_no) WHERE group_id > 0;

CREATE INDEX execution_worker ON execution (worker) WHERE ended = 0;

CREATE TABLE flow_lock (
  n    INTEGER NOT NULL,
  step TEXT    NOT NULL,
  lock TEXT    NOT NULL,
  PRIMARY KEY (n, step)
) WITHOUT ROWID;

CREATE TABLE flow_result (
  job_seq INTEGER NOT NULL,
  name    TEXT    NOT NULL,
  result  BLOB    NOT NULL,
  PRIMARY KEY (job_seq, name)
) WITHOUT ROWID;

CREATE TABLE flow_run (
  job_seq  INTEGER PRIMARY KEY,
  root_seq INTEGER NOT NULL, -- of the outermost flow
  depth    INTEGER NOT NULL,
  state    BLOB    NOT NULL,
  events   BLOB,             -- what happened and was not dealt with yet
  due      INTEGER NOT NULL, -- 1: it is to be looked at now
  wake_us  INTEGER NOT NULL, -- 0: it is not to be looked at by itself
  steps    INTEGER NOT NULL  -- of an outermost flow: jobs pushed in it
);

CREATE INDEX flow_run_due  ON flow_run (due) WHERE due = 1;

CREATE INDEX flow_run_wake ON flow_run (wake_us) WHERE wake_us > 0;

CREATE TRIGGER flow_lock_gone AFTER DELETE ON flow_version BEGIN
  DELETE FROM flow_lock WHERE n = OLD.n;
END;

CREATE TABLE flow_version (
  n           INTEGER PRIMARY KEY AUTOINCREMENT, -- jobs name versions by it: never used again
  workspace   TEXT    NOT NULL,
  path        TEXT    NOT NULL,
  summary     TEXT    NOT NULL,
  description TEXT    NOT NULL,
  edited_by   TEXT    NOT NULL,
  edited_us   INTEGER NOT NULL,
  archived    INTEGER NOT NULL,
  deleted     INTEGER NOT NULL, -- 1: nobody sees it; it stays for the sake of runs
  newest      INTEGER NOT NULL,
  settings    BLOB,
  schema      BLOB,
  value       BLOB    NOT NULL
);

CREATE INDEX flow_version_deleted ON flow_version (n) WHERE deleted = 1;

CREATE INDEX flow_version_path    ON flow_version (workspace, path, newest) WHERE deleted = 0;

CREATE TABLE folder (
  workspace  TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  created_by TEXT    NOT NULL,
  edited_by  TEXT    NOT NULL,
  edited_us  INTEGER NOT NULL,
  body       BLOB    NOT NULL,
  PRIMARY KEY (workspace, name)
) WITHOUT ROWID;

CREATE TABLE grp (
  id               INTEGER PRIMARY KEY,
  taken            INTEGER NOT NULL,
  struck           INTEGER NOT NULL,
  launched         INTEGER NOT NULL,
  released         INTEGER NOT NULL,
  waiting          INTEGER NOT NULL,
  max_window_us    INTEGER NOT NULL,
  typical_us       INTEGER NOT NULL,
  active           INTEGER NOT NULL, -- 1: a job held or waiting, an override or a pause
  key              BLOB    NOT NULL,
  max_waiting      INTEGER NOT NULL,
  pruned_launches  INTEGER NOT NULL,
  pruned_releases  INTEGER NOT NULL,
  trimmed_launches INTEGER NOT NULL,
  trimmed_releases INTEGER NOT NULL,
  trimmed_order    INTEGER NOT NULL,
  trimmed_us       INTEGER NOT NULL,
  over_n           INTEGER,
  over_window_us   INTEGER,
  over_mode        TEXT,
  over_by          TEXT    NOT NULL,
  over_why         TEXT    NOT NULL,
  paused           INTEGER NOT NULL,
  pause_until_us   INTEGER NOT NULL,
  pause_by         TEXT    NOT NULL,
  pause_why        TEXT    NOT NULL
);

CREATE INDEX grp_active ON grp (key) WHERE active = 1;

CREATE UNIQUE INDEX grp_key ON grp (key);

CREATE TABLE grp_event (
  seq            INTEGER PRIMARY KEY AUTOINCREMENT,
  group_id       INTEGER NOT NULL,
  key            BLOB    NOT NULL,
  at_us          INTEGER NOT NULL,
  kind           TEXT    NOT NULL,
  after_order    INTEGER NOT NULL,
  over_n         INTEGER,
  over_window_us INTEGER,
  over_mode      TEXT,
  max_waiting    INTEGER NOT NULL,
  until_us       INTEGER NOT NULL,
  by             TEXT    NOT NULL,
  why            TEXT    NOT NULL
);

CREATE INDEX grp_event_group ON grp_event (group_id);

CREATE TABLE job (
  seq              INTEGER PRIMARY KEY,
  rev              INTEGER NOT NULL,
  state            INTEGER NOT NULL, -- 0 scheduled, 1 queued, 2 running, 3 completed
  outcome          INTEGER NOT NULL, -- 0 none, 1 success, 2 failure, 3 canceled
  attempt          INTEGER NOT NULL,
  lost             INTEGER NOT NULL,
  started_us       INTEGER NOT NULL,
  completed_us     INTEGER NOT NULL,
  worker           TEXT    NOT NULL,
  canceled_by      TEXT    NOT NULL,
  canceled_reason  TEXT    NOT NULL,
  limit_n          INTEGER NOT NULL, -- 0: no limit
  limit_window_us  INTEGER NOT NULL,
  limit_mode       TEXT    NOT NULL,
  open             INTEGER NOT NULL, -- 1: not completed
  expiry_us        INTEGER NOT NULL, -- expires_us while it waits, else 0
  delete_us        INTEGER NOT NULL, -- completed_us + delete_after_us; 0: the server's retention
  id               BLOB    NOT NULL, -- 16 bytes
  workspace        TEXT    NOT NULL,
  kind             TEXT    NOT NULL,
  path             TEXT    NOT NULL,
  hash             TEXT    NOT NULL,
  language         TEXT    NOT NULL,
  tag              TEXT    NOT NULL,
  priority         INTEGER NOT NULL,
  created_us       INTEGER NOT NULL,
  scheduled_us     INTEGER NOT NULL,
  expires_us       INTEGER NOT NULL,
  created_by       TEXT    NOT NULL,
  email            TEXT    NOT NULL,
  parent           BLOB,
  root             BLOB,
  key              BLOB,             -- NULL: in no group
  key_hash         INTEGER,          -- of key, so that its index stays small
  on_limit         TEXT    NOT NULL,
  timeout_us       INTEGER NOT NULL,
  max_lost         INTEGER NOT NULL,
  delete_after_us  INTEGER NOT NULL,
  big              INTEGER NOT NULL, -- 1: content and args are in payload
  content          TEXT    NOT NULL,
  args             BLOB
, labels TEXT NOT NULL DEFAULT '', progress INTEGER NOT NULL DEFAULT 0, phase INTEGER NOT NULL DEFAULT 0, queue_limit INTEGER NOT NULL DEFAULT 0, step TEXT NOT NULL DEFAULT '', step_n INTEGER NOT NULL DEFAULT 0, scope TEXT NOT NULL DEFAULT '', schedule TEXT NOT NULL DEFAULT '');

CREATE INDEX job_completed ON job (completed_us) WHERE completed_us > 0;

CREATE INDEX job_delete    ON job (delete_us) WHERE delete_us > 0;

CREATE INDEX job_expiry    ON job (expiry_us) WHERE expiry_us > 0;

CREATE INDEX job_flow ON job (workspace, path) WHERE open = 1 AND kind = 'flow';

CREATE UNIQUE INDEX job_id ON job (id);

CREATE INDEX job_key       ON job (key_hash) WHERE key_hash IS NOT NULL;

CREATE INDEX job_open      ON job (workspace, seq, path) WHERE open = 1;

CREATE INDEX job_parent ON job (parent, step, step_n) WHERE parent IS NOT NULL;

CREATE INDEX job_rev       ON job (rev);

CREATE INDEX job_schedule ON job (workspace, schedule, open) WHERE schedule <> '';

CREATE INDEX job_workspace ON job (workspace);

CREATE TABLE label (
  label   TEXT    NOT NULL,
  job_seq INTEGER NOT NULL,
  PRIMARY KEY (label, job_seq)
) WITHOUT ROWID;

CREATE INDEX label_job ON label (job_seq);

CREATE TABLE later (
  line_id INTEGER NOT NULL,
  due_us  INTEGER NOT NULL,
  neg     INTEGER NOT NULL,
  job_seq INTEGER NOT NULL,
  PRIMARY KEY (line_id, due_us, neg, job_seq)
) WITHOUT ROWID;

CREATE TABLE line (
  id             INTEGER PRIMARY KEY,
  queued         INTEGER NOT NULL,
  scheduled      INTEGER NOT NULL,
  head_neg       INTEGER NOT NULL, -- negated priority of the first job
  head_due_us    INTEGER NOT NULL,
  head_seq       INTEGER NOT NULL, -- 0: none
  head_n         INTEGER NOT NULL,
  head_window_us INTEGER NOT NULL,
  head_mode      TEXT    NOT NULL,
  next_due_us    INTEGER NOT NULL,
  turn           INTEGER NOT NULL,
  ready          INTEGER NOT NULL,
  blocked_by     TEXT    NOT NULL,
  wake_us        INTEGER NOT NULL,
  group_id       INTEGER NOT NULL, -- 0: jobs with no limit
  workspace      TEXT    NOT NULL,
  path           TEXT    NOT NULL,
  tag            TEXT    NOT NULL
);

CREATE UNIQUE INDEX line_name ON line (group_id, workspace, path, tag);

CREATE INDEX line_ready ON line (tag, blocked_by, head_neg, turn) WHERE ready = 1;

CREATE INDEX line_wake ON line (wake_us) WHERE wake_us > 0;

CREATE TABLE log (
  job_seq   INTEGER NOT NULL,
  end_utf16 INTEGER NOT NULL,
  end_byte  INTEGER NOT NULL,
  utf16     INTEGER NOT NULL, -- code units before it
  byte      INTEGER NOT NULL, -- bytes before it
  text      TEXT NOT NULL
);

CREATE UNIQUE INDEX log_end ON log (job_seq, end_utf16);

CREATE TABLE log_raw (
  job_seq   INTEGER NOT NULL,
  execution INTEGER NOT NULL,
  raw_end   INTEGER NOT NULL,
  PRIMARY KEY (job_seq, execution)
) WITHOUT ROWID;

CREATE TABLE member (
  workspace TEXT    NOT NULL,
  email     TEXT    NOT NULL,
  role      TEXT    NOT NULL,
  since_us  INTEGER NOT NULL,
  PRIMARY KEY (workspace, email)
) WITHOUT ROWID;

CREATE INDEX member_email ON member (email, workspace);

CREATE TABLE meta (
  one       INTEGER PRIMARY KEY CHECK (one = 1),
  clock_us  INTEGER NOT NULL,
  seq       INTEGER NOT NULL, -- jobs
  rev       INTEGER NOT NULL, -- changes to jobs
  turn      INTEGER NOT NULL, -- lines
  execution INTEGER NOT NULL,
  grp       INTEGER NOT NULL,
  line      INTEGER NOT NULL
);

CREATE TABLE payload (
  seq     INTEGER PRIMARY KEY,
  content TEXT NOT NULL,
  args    BLOB
);

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

CREATE TABLE result (
  seq    INTEGER PRIMARY KEY,
  result BLOB NOT NULL
);

CREATE TABLE schedule (
  workspace TEXT    NOT NULL,
  path      TEXT    NOT NULL,
  enabled   INTEGER NOT NULL,
  next_us   INTEGER NOT NULL, -- when the run that is pushed is due; 0: none is pushed
  failed    INTEGER NOT NULL, -- runs in a row that have failed; below 0: see the contract
  next_job  BLOB,
  edited_us INTEGER NOT NULL,
  edited_by TEXT    NOT NULL,
  email     TEXT    NOT NULL,
  error     TEXT    NOT NULL, -- why it was disabled; '': it was not
  body      BLOB    NOT NULL,
  PRIMARY KEY (workspace, path)
) WITHOUT ROWID;

CREATE INDEX schedule_next ON schedule (next_us) WHERE next_us > 0;

CREATE TABLE script (
  n          INTEGER PRIMARY KEY,
  workspace  TEXT    NOT NULL,
  hash       TEXT    NOT NULL,
  path       TEXT    NOT NULL,
  parent     TEXT    NOT NULL,
  language   TEXT    NOT NULL,
  summary    TEXT    NOT NULL,
  kind       TEXT    NOT NULL,
  settings   BLOB,
  created_by TEXT    NOT NULL,
  created_us INTEGER NOT NULL,
  archived   INTEGER NOT NULL,
  deleted    INTEGER NOT NULL,
  newest     INTEGER NOT NULL,
  content    TEXT    NOT NULL
, lock TEXT, lock_error TEXT NOT NULL DEFAULT '');

CREATE UNIQUE INDEX script_hash ON script (workspace, hash);

CREATE INDEX script_path ON script (workspace, path, newest);

CREATE TABLE secret (
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE stand (
  line_id INTEGER NOT NULL,
  neg     INTEGER NOT NULL, -- negated priority
  due_us  INTEGER NOT NULL,
  job_seq INTEGER NOT NULL,
  PRIMARY KEY (line_id, neg, due_us, job_seq)
) WITHOUT ROWID;

CREATE TABLE stream (
  job_seq   INTEGER NOT NULL,
  end_utf16 INTEGER NOT NULL,
  end_byte  INTEGER NOT NULL,
  utf16     INTEGER NOT NULL, -- code units before it
  byte      INTEGER NOT NULL, -- bytes before it
  text      TEXT NOT NULL
);

CREATE UNIQUE INDEX stream_end ON stream (job_seq, end_utf16);

CREATE TABLE stream_raw (
  job_seq   INTEGER NOT NULL,
  execution INTEGER NOT NULL,
  raw_end   INTEGER NOT NULL,
  PRIMARY KEY (job_seq, execution)
) WITHOUT ROWID;

CREATE TABLE tally (
  workspace TEXT NOT NULL,
  tag       TEXT NOT NULL,
  scheduled INTEGER NOT NULL,
  queued    INTEGER NOT NULL,
  running   INTEGER NOT NULL,
  PRIMARY KEY (workspace, tag)
) WITHOUT ROWID;

CREATE TABLE tick (
  workspace TEXT    NOT NULL,
  path      TEXT    NOT NULL,
  due_us    INTEGER NOT NULL,
  PRIMARY KEY (workspace, path, due_us)
) WITHOUT ROWID;

CREATE INDEX tick_due ON tick (due_us);

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

CREATE TABLE worker (
  name       TEXT PRIMARY KEY,
  instance   TEXT    NOT NULL,
  started_us INTEGER NOT NULL,
  ping_us    INTEGER NOT NULL,
  gone       INTEGER NOT NULL,
  word       TEXT    NOT NULL -- the rest of its last heartbeat, JSON
) WITHOUT ROWID;

CREATE INDEX worker_gone ON worker (name) WHERE gone = 1;

CREATE INDEX worker_instance ON worker (instance);

CREATE INDEX worker_ping ON worker (ping_us);

CREATE TABLE workspace (
  id         TEXT PRIMARY KEY,
  name       TEXT    NOT NULL,
  owner      TEXT    NOT NULL,
  created_us INTEGER NOT NULL
, archived INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;

CREATE TABLE workspace_key (
  workspace  TEXT    NOT NULL PRIMARY KEY,
  id         INTEGER NOT NULL,
  created_us INTEGER NOT NULL,
  master     TEXT    NOT NULL,
  wrapped    BLOB    NOT NULL
) WITHOUT ROWID;

