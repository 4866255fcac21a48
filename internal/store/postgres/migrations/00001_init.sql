-- +goose Up

-- Numbers of jobs, executions, groups, lines and turns. A transaction draws a
-- block of 1,024 once it holds its locks, so that in a group they ascend in the
-- order of the locks.
CREATE SEQUENCE number START WITH 1 INCREMENT BY 1024;

-- One row. rev_epoch is added to the number of a transaction in the numbers of
-- changes, so that those go on ascending in a database that was restored.
CREATE TABLE meta (
  one       smallint PRIMARY KEY CHECK (one = 1),
  rev_epoch bigint NOT NULL
);
INSERT INTO meta VALUES (1, 0);

-- The newest instant that each writer has recorded.
CREATE TABLE clock (
  writer    bigint PRIMARY KEY,
  newest_us bigint NOT NULL
) WITH (fillfactor = 50);

-- What is fixed when a job is pushed, or changes once at most.
CREATE TABLE job (
  seq             bigint PRIMARY KEY,
  id              uuid   NOT NULL,
  workspace       text   COLLATE "C" NOT NULL,
  kind            text   COLLATE "C" NOT NULL,
  path            text   COLLATE "C" NOT NULL,
  hash            text   COLLATE "C" NOT NULL,
  language        text   COLLATE "C" NOT NULL,
  tag             text   COLLATE "C" NOT NULL,
  priority        integer NOT NULL,
  created_us      bigint NOT NULL,
  scheduled_us    bigint NOT NULL,
  expires_us      bigint NOT NULL,
  created_by      text   COLLATE "C" NOT NULL,
  email           text   COLLATE "C" NOT NULL,
  parent          uuid,
  root            uuid,
  key             bytea,           -- NULL: in no group
  on_limit        text   COLLATE "C" NOT NULL,
  timeout_us      bigint NOT NULL,
  max_lost        integer NOT NULL,
  delete_after_us bigint NOT NULL,
  content         bytea  NOT NULL, -- text may hold NUL, which PostgreSQL's does not
  args            bytea
);
CREATE UNIQUE INDEX job_id ON job (id);
CREATE INDEX job_workspace ON job (workspace, seq);
CREATE INDEX job_parent    ON job (parent) WHERE parent IS NOT NULL;
CREATE INDEX job_key       ON job (key, seq) WHERE key IS NOT NULL;

-- What changes as a job goes on: narrow rows of few indexes, written anew with
-- each change.
CREATE TABLE job_state (
  seq             bigint PRIMARY KEY,
  rev             bigint   NOT NULL,
  state           smallint NOT NULL, -- 0 scheduled, 1 queued, 2 running, 3 completed
  outcome         smallint NOT NULL, -- 0 none, 1 success, 2 failure, 3 canceled
  attempt         integer  NOT NULL,
  lost            integer  NOT NULL,
  started_us      bigint   NOT NULL,
  completed_us    bigint   NOT NULL,
  worker          text     COLLATE "C" NOT NULL,
  canceled_by     bytea    NOT NULL,
  canceled_reason bytea    NOT NULL,
  limit_n         integer  NOT NULL, -- 0: no limit
  limit_window_us bigint   NOT NULL,
  limit_mode      text     COLLATE "C" NOT NULL,
  expiry_us       bigint   NOT NULL, -- expires_us while it waits, else 0
  delete_us       bigint   NOT NULL  -- completed_us + delete_after_us; 0: the server's retention
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);
CREATE UNIQUE INDEX job_state_rev ON job_state (rev);
CREATE INDEX job_state_open      ON job_state (seq) WHERE state < 3;
CREATE INDEX job_state_completed ON job_state (completed_us) WHERE completed_us > 0;
CREATE INDEX job_state_delete    ON job_state (delete_us) WHERE delete_us > 0;
CREATE INDEX job_state_expiry    ON job_state (expiry_us) WHERE expiry_us > 0;

CREATE TABLE result (
  seq    bigint PRIMARY KEY,
  result bytea NOT NULL
);

-- Changes to the number of jobs that are not completed, by workspace and tag.
-- Rows are added, so that no two transactions meet in one, and summed up later.
CREATE TABLE tally (
  workspace text COLLATE "C" NOT NULL,
  tag       text COLLATE "C" NOT NULL,
  scheduled bigint NOT NULL,
  queued    bigint NOT NULL,
  running   bigint NOT NULL
);

CREATE TABLE log (
  job_seq   bigint NOT NULL,
  end_utf16 bigint NOT NULL,
  end_byte  bigint NOT NULL,
  utf16     bigint NOT NULL, -- code units before it
  byte      bigint NOT NULL, -- bytes before it
  text      bytea  NOT NULL,
  PRIMARY KEY (job_seq, end_utf16)
);

CREATE TABLE log_raw (
  job_seq   bigint NOT NULL,
  execution bigint NOT NULL,
  raw_end   bigint NOT NULL,
  PRIMARY KEY (job_seq, execution)
) WITH (fillfactor = 80);

CREATE TABLE grp (
  id               bigint  PRIMARY KEY,
  taken            bigint  NOT NULL,
  struck           bigint  NOT NULL,
  launched         bigint  NOT NULL,
  released         bigint  NOT NULL,
  waiting          bigint  NOT NULL,
  max_window_us    bigint  NOT NULL,
  typical_us       bigint  NOT NULL,
  active           boolean NOT NULL, -- a job held or waiting, an override or a pause
  key              bytea   NOT NULL,
  max_waiting      bigint  NOT NULL,
  pruned_launches  bigint  NOT NULL,
  pruned_releases  bigint  NOT NULL,
  trimmed_launches bigint  NOT NULL,
  trimmed_releases bigint  NOT NULL,
  trimmed_order    bigint  NOT NULL,
  trimmed_us       bigint  NOT NULL,
  over_n           bigint,
  over_window_us   bigint,
  over_mode        text    COLLATE "C",
  over_by          bytea   NOT NULL,
  over_why         bytea   NOT NULL,
  paused           boolean NOT NULL,
  pause_until_us   bigint  NOT NULL,
  pause_by         bytea   NOT NULL,
  pause_why        bytea   NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX grp_key ON grp (key);
CREATE INDEX grp_active ON grp (key) WHERE active;

CREATE TABLE grp_event (
  seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  group_id       bigint NOT NULL,
  key            bytea  NOT NULL,
  at_us          bigint NOT NULL,
  kind           text   COLLATE "C" NOT NULL,
  after_order    bigint NOT NULL,
  over_n         bigint,
  over_window_us bigint,
  over_mode      text   COLLATE "C",
  max_waiting    bigint NOT NULL,
  until_us       bigint NOT NULL,
  by             bytea  NOT NULL,
  why            bytea  NOT NULL
);
CREATE INDEX grp_event_group ON grp_event (group_id, seq);

CREATE TABLE line (
  id             bigint  PRIMARY KEY,
  queued         bigint  NOT NULL,
  scheduled      bigint  NOT NULL,
  head_neg       integer NOT NULL, -- negated priority of the first job
  head_due_us    bigint  NOT NULL,
  head_seq       bigint  NOT NULL, -- 0: none
  head_n         integer NOT NULL,
  head_window_us bigint  NOT NULL,
  head_mode      text    COLLATE "C" NOT NULL,
  next_due_us    bigint  NOT NULL,
  turn           bigint  NOT NULL,
  ready          boolean NOT NULL,
  blocked_by     text    COLLATE "C" NOT NULL,
  wake_us        bigint  NOT NULL,
  group_id       bigint  NOT NULL, -- 0: jobs with no limit
  workspace      text    COLLATE "C" NOT NULL,
  path           text    COLLATE "C" NOT NULL,
  tag            text    COLLATE "C" NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX line_name ON line (group_id, workspace, path, tag);
CREATE INDEX line_ready ON line (tag, blocked_by, head_neg, turn) WHERE ready;
CREATE INDEX line_wake  ON line (wake_us) WHERE wake_us > 0;

-- Which jobs stand in which line, and which are due later.
CREATE TABLE stand (
  line_id bigint  NOT NULL,
  neg     integer NOT NULL, -- negated priority
  due_us  bigint  NOT NULL,
  job_seq bigint  NOT NULL,
  PRIMARY KEY (line_id, neg, due_us, job_seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE later (
  line_id bigint  NOT NULL,
  due_us  bigint  NOT NULL,
  neg     integer NOT NULL,
  job_seq bigint  NOT NULL,
  PRIMARY KEY (line_id, due_us, neg, job_seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- ended is 0 while the slot is held, then 1 reported, 2 lost, 3 struck, 4
-- prepared. done_us is released_us, or started_us of what was struck out
-- without one.
CREATE TABLE execution (
  id              bigint   PRIMARY KEY,
  ended           smallint NOT NULL,
  launch_no       bigint   NOT NULL,
  end_no          bigint   NOT NULL,
  confirmed_us    bigint   NOT NULL,
  released_us     bigint   NOT NULL,
  done_us         bigint   NOT NULL,
  kill_us         bigint   NOT NULL,
  group_id        bigint   NOT NULL, -- 0: in no group
  order_no        bigint   NOT NULL,
  job_seq         bigint   NOT NULL,
  job_id          uuid,
  attempt         integer  NOT NULL,
  worker          text     COLLATE "C" NOT NULL,
  take_no         bigint   NOT NULL,
  tag             text     COLLATE "C" NOT NULL,
  limit_n         integer  NOT NULL,
  limit_window_us bigint   NOT NULL,
  limit_mode      text     COLLATE "C" NOT NULL,
  source          text     COLLATE "C" NOT NULL,
  started_us      bigint   NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX execution_job ON execution (job_seq, attempt);
CREATE INDEX execution_worker ON execution (worker) WHERE ended = 0;
CREATE UNIQUE INDEX execution_order ON execution (group_id, order_no) WHERE group_id > 0;
CREATE INDEX execution_held ON execution (group_id, order_no) WHERE ended = 0 AND group_id > 0;
CREATE UNIQUE INDEX execution_launch ON execution (group_id, launch_no) WHERE launch_no > 0;
CREATE UNIQUE INDEX execution_end ON execution (group_id, end_no) WHERE end_no > 0;
CREATE INDEX execution_done ON execution (done_us, id) WHERE done_us > 0;

CREATE TABLE worker (
  name       text    COLLATE "C" PRIMARY KEY,
  instance   text    COLLATE "C" NOT NULL,
  started_us bigint  NOT NULL,
  ping_us    bigint  NOT NULL,
  gone       boolean NOT NULL,
  word       text    NOT NULL -- the rest of its last heartbeat, JSON
) WITH (fillfactor = 50);
CREATE INDEX worker_gone ON worker (name) WHERE gone;
CREATE INDEX worker_instance ON worker (instance);

CREATE TABLE workspace (
  id         text   COLLATE "C" PRIMARY KEY,
  name       bytea  NOT NULL,
  owner      bytea  NOT NULL,
  created_us bigint NOT NULL
);

CREATE TABLE script (
  n          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  workspace  text    COLLATE "C" NOT NULL,
  hash       text    COLLATE "C" NOT NULL,
  path       text    COLLATE "C" NOT NULL,
  parent     text    COLLATE "C" NOT NULL,
  language   text    COLLATE "C" NOT NULL,
  summary    bytea   NOT NULL,
  kind       text    COLLATE "C" NOT NULL,
  settings   bytea,
  created_by text    COLLATE "C" NOT NULL,
  created_us bigint  NOT NULL,
  archived   boolean NOT NULL,
  deleted    boolean NOT NULL,
  newest     boolean NOT NULL,
  content    bytea   NOT NULL
);
CREATE UNIQUE INDEX script_hash ON script (workspace, hash);
CREATE INDEX script_path ON script (workspace, path, newest);
