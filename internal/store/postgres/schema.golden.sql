CREATE INDEX acl_who ON public.acl USING btree (workspace, who, kind);

CREATE INDEX audit_at ON public.audit USING btree (at_us);

CREATE INDEX audit_workspace ON public.audit USING btree (workspace, id);

CREATE INDEX execution_done ON public.execution USING btree (done_us, id) WHERE (done_us > 0);

CREATE INDEX execution_held ON public.execution USING btree (group_id, order_no) WHERE ((ended = 0) AND (group_id > 0));

CREATE INDEX execution_job ON public.execution USING btree (job_seq, attempt);

CREATE INDEX execution_worker ON public.execution USING btree (worker) WHERE (ended = 0);

CREATE INDEX flow_run_due ON public.flow_run USING btree (job_seq) WHERE due;

CREATE INDEX flow_run_wake ON public.flow_run USING btree (wake_us) WHERE (wake_us > 0);

CREATE INDEX flow_version_deleted ON public.flow_version USING btree (n) WHERE deleted;

CREATE INDEX flow_version_path ON public.flow_version USING btree (workspace, path, newest) WHERE (NOT deleted);

CREATE INDEX grp_active ON public.grp USING btree (key) WHERE active;

CREATE INDEX grp_event_group ON public.grp_event USING btree (group_id, seq);

CREATE INDEX job_flow ON public.job USING btree (workspace, path, seq) WHERE (kind = 'flow'::text);

CREATE INDEX job_key ON public.job USING btree (key, seq) WHERE (key IS NOT NULL);

CREATE INDEX job_parent ON public.job USING btree (parent, step, step_n, seq) WHERE (parent IS NOT NULL);

CREATE INDEX job_schedule ON public.job USING btree (workspace, schedule, seq) WHERE (schedule <> ''::text);

CREATE INDEX job_state_completed ON public.job_state USING btree (completed_us) WHERE (completed_us > 0);

CREATE INDEX job_state_delete ON public.job_state USING btree (delete_us) WHERE (delete_us > 0);

CREATE INDEX job_state_expiry ON public.job_state USING btree (expiry_us) WHERE (expiry_us > 0);

CREATE INDEX job_state_open ON public.job_state USING btree (seq) WHERE (state < 3);

CREATE INDEX job_workspace ON public.job USING btree (workspace, seq);

CREATE INDEX label_job ON public.label USING btree (job_seq);

CREATE INDEX line_ready ON public.line USING btree (tag, blocked_by, head_neg, turn) WHERE ready;

CREATE INDEX line_wake ON public.line USING btree (wake_us) WHERE (wake_us > 0);

CREATE INDEX member_email ON public.member USING btree (email, workspace);

CREATE INDEX schedule_next ON public.schedule USING btree (next_us) WHERE (next_us > 0);

CREATE INDEX script_path ON public.script USING btree (workspace, path, newest);

CREATE INDEX tick_due ON public.tick USING btree (due_us);

CREATE INDEX token_email ON public.token USING btree (email, created_us);

CREATE INDEX token_expiry ON public.token USING btree (expires_us) WHERE (expires_us > 0);

CREATE INDEX usergroup_member_email ON public.usergroup_member USING btree (email, workspace);

CREATE INDEX worker_gone ON public.worker USING btree (name) WHERE gone;

CREATE INDEX worker_instance ON public.worker USING btree (instance);

CREATE UNIQUE INDEX account_pkey ON public.account USING btree (email);

CREATE UNIQUE INDEX account_username ON public.account USING btree (username);

CREATE UNIQUE INDEX acl_pkey ON public.acl USING btree (workspace, kind, path, who);

CREATE UNIQUE INDEX audit_pkey ON public.audit USING btree (id);

CREATE UNIQUE INDEX cached_pkey ON public.cached USING btree (slot);

CREATE UNIQUE INDEX clock_pkey ON public.clock USING btree (writer);

CREATE UNIQUE INDEX execution_end ON public.execution USING btree (group_id, end_no) WHERE (end_no > 0);

CREATE UNIQUE INDEX execution_launch ON public.execution USING btree (group_id, launch_no) WHERE (launch_no > 0);

CREATE UNIQUE INDEX execution_order ON public.execution USING btree (group_id, order_no) WHERE (group_id > 0);

CREATE UNIQUE INDEX execution_pkey ON public.execution USING btree (id);

CREATE UNIQUE INDEX flow_lock_pkey ON public.flow_lock USING btree (n, step);

CREATE UNIQUE INDEX flow_result_pkey ON public.flow_result USING btree (job_seq, name);

CREATE UNIQUE INDEX flow_run_pkey ON public.flow_run USING btree (job_seq);

CREATE UNIQUE INDEX flow_version_pkey ON public.flow_version USING btree (n);

CREATE UNIQUE INDEX folder_pkey ON public.folder USING btree (workspace, name);

CREATE UNIQUE INDEX grp_event_pkey ON public.grp_event USING btree (seq);

CREATE UNIQUE INDEX grp_key ON public.grp USING btree (key);

CREATE UNIQUE INDEX grp_pkey ON public.grp USING btree (id);

CREATE UNIQUE INDEX job_id ON public.job USING btree (id);

CREATE UNIQUE INDEX job_pkey ON public.job USING btree (seq);

CREATE UNIQUE INDEX job_state_pkey ON public.job_state USING btree (seq);

CREATE UNIQUE INDEX job_state_rev ON public.job_state USING btree (rev);

CREATE UNIQUE INDEX label_pkey ON public.label USING btree (label, job_seq);

CREATE UNIQUE INDEX later_pkey ON public.later USING btree (line_id, due_us, neg, job_seq);

CREATE UNIQUE INDEX line_name ON public.line USING btree (group_id, workspace, path, tag);

CREATE UNIQUE INDEX line_pkey ON public.line USING btree (id);

CREATE UNIQUE INDEX log_pkey ON public.log USING btree (job_seq, end_utf16);

CREATE UNIQUE INDEX log_raw_pkey ON public.log_raw USING btree (job_seq, execution);

CREATE UNIQUE INDEX member_pkey ON public.member USING btree (workspace, email);

CREATE UNIQUE INDEX meta_pkey ON public.meta USING btree (one);

CREATE UNIQUE INDEX resource_pkey ON public.resource USING btree (workspace, path);

CREATE UNIQUE INDEX result_pkey ON public.result USING btree (seq);

CREATE UNIQUE INDEX schedule_pkey ON public.schedule USING btree (workspace, path);

CREATE UNIQUE INDEX script_hash ON public.script USING btree (workspace, hash);

CREATE UNIQUE INDEX script_pkey ON public.script USING btree (n);

CREATE UNIQUE INDEX secret_pkey ON public.secret USING btree (name);

CREATE UNIQUE INDEX stand_pkey ON public.stand USING btree (line_id, neg, due_us, job_seq);

CREATE UNIQUE INDEX stream_pkey ON public.stream USING btree (job_seq, end_utf16);

CREATE UNIQUE INDEX stream_raw_pkey ON public.stream_raw USING btree (job_seq, execution);

CREATE UNIQUE INDEX tick_pkey ON public.tick USING btree (workspace, path, due_us);

CREATE UNIQUE INDEX token_pkey ON public.token USING btree (hash);

CREATE UNIQUE INDEX usergroup_member_pkey ON public.usergroup_member USING btree (workspace, name, email);

CREATE UNIQUE INDEX usergroup_pkey ON public.usergroup USING btree (workspace, name);

CREATE UNIQUE INDEX variable_pkey ON public.variable USING btree (workspace, path);

CREATE UNIQUE INDEX worker_pkey ON public.worker USING btree (name);

CREATE UNIQUE INDEX workspace_key_pkey ON public.workspace_key USING btree (workspace);

CREATE UNIQUE INDEX workspace_pkey ON public.workspace USING btree (id);

SEQUENCE audit_id_seq INCREMENT 1;

SEQUENCE flow_version_n_seq INCREMENT 1;

SEQUENCE grp_event_seq_seq INCREMENT 1;

SEQUENCE number INCREMENT 1024;

SEQUENCE script_n_seq INCREMENT 1;

TABLE account 
  email text COLLATE C NOT NULL
  username text COLLATE C NOT NULL
  password text NOT NULL
  super_admin boolean NOT NULL
  disabled boolean NOT NULL
  created_us bigint NOT NULL;

TABLE acl 
  workspace text COLLATE C NOT NULL
  kind text COLLATE C NOT NULL
  path text COLLATE C NOT NULL
  who text COLLATE C NOT NULL
  level smallint NOT NULL;

TABLE audit 
  id bigint NOT NULL IDENTITY
  at_us bigint NOT NULL
  workspace text COLLATE C NOT NULL
  username text COLLATE C NOT NULL
  email text COLLATE C NOT NULL
  operation text COLLATE C NOT NULL
  kind text COLLATE C NOT NULL
  resource bytea NOT NULL
  address text NOT NULL
  token text NOT NULL
  parameters bytea NOT NULL;

TABLE cached 
  slot bigint NOT NULL
  hash bytea NOT NULL
  until_us bigint NOT NULL
  result bytea NOT NULL;

TABLE clock {fillfactor=50}
  writer bigint NOT NULL
  newest_us bigint NOT NULL;

TABLE execution {fillfactor=80,autovacuum_vacuum_scale_factor=0.05}
  id bigint NOT NULL
  ended smallint NOT NULL
  launch_no bigint NOT NULL
  end_no bigint NOT NULL
  confirmed_us bigint NOT NULL
  released_us bigint NOT NULL
  done_us bigint NOT NULL
  kill_us bigint NOT NULL
  group_id bigint NOT NULL
  order_no bigint NOT NULL
  job_seq bigint NOT NULL
  job_id uuid
  attempt integer NOT NULL
  worker text COLLATE C NOT NULL
  take_no bigint NOT NULL
  tag text COLLATE C NOT NULL
  limit_n integer NOT NULL
  limit_window_us bigint NOT NULL
  limit_mode text COLLATE C NOT NULL
  source text COLLATE C NOT NULL
  started_us bigint NOT NULL;

TABLE flow_lock 
  n bigint NOT NULL
  step text COLLATE C NOT NULL
  lock bytea NOT NULL;

TABLE flow_result 
  job_seq bigint NOT NULL
  name text COLLATE C NOT NULL
  result bytea NOT NULL;

TABLE flow_run {fillfactor=70}
  job_seq bigint NOT NULL
  root_seq bigint NOT NULL
  depth integer NOT NULL
  state bytea NOT NULL
  events bytea
  due boolean NOT NULL
  wake_us bigint NOT NULL
  steps bigint NOT NULL;

TABLE flow_version 
  n bigint NOT NULL IDENTITY
  workspace text COLLATE C NOT NULL
  path text COLLATE C NOT NULL
  summary bytea NOT NULL
  description bytea NOT NULL
  edited_by text COLLATE C NOT NULL
  edited_us bigint NOT NULL
  archived boolean NOT NULL
  deleted boolean NOT NULL
  newest boolean NOT NULL
  settings bytea
  schema bytea
  value bytea NOT NULL;

TABLE folder 
  workspace text COLLATE C NOT NULL
  name text COLLATE C NOT NULL
  created_by text COLLATE C NOT NULL
  edited_by text COLLATE C NOT NULL
  edited_us bigint NOT NULL
  body bytea NOT NULL;

TABLE grp {fillfactor=50,autovacuum_vacuum_scale_factor=0.05}
  id bigint NOT NULL
  taken bigint NOT NULL
  struck bigint NOT NULL
  launched bigint NOT NULL
  released bigint NOT NULL
  waiting bigint NOT NULL
  max_window_us bigint NOT NULL
  typical_us bigint NOT NULL
  active boolean NOT NULL
  key bytea NOT NULL
  max_waiting bigint NOT NULL
  pruned_launches bigint NOT NULL
  pruned_releases bigint NOT NULL
  trimmed_launches bigint NOT NULL
  trimmed_releases bigint NOT NULL
  trimmed_order bigint NOT NULL
  trimmed_us bigint NOT NULL
  over_n bigint
  over_window_us bigint
  over_mode text COLLATE C
  over_by bytea NOT NULL
  over_why bytea NOT NULL
  paused boolean NOT NULL
  pause_until_us bigint NOT NULL
  pause_by bytea NOT NULL
  pause_why bytea NOT NULL;

TABLE grp_event 
  seq bigint NOT NULL IDENTITY
  group_id bigint NOT NULL
  key bytea NOT NULL
  at_us bigint NOT NULL
  kind text COLLATE C NOT NULL
  after_order bigint NOT NULL
  over_n bigint
  over_window_us bigint
  over_mode text COLLATE C
  max_waiting bigint NOT NULL
  until_us bigint NOT NULL
  by bytea NOT NULL
  why bytea NOT NULL;

TABLE job 
  seq bigint NOT NULL
  id uuid NOT NULL
  workspace text COLLATE C NOT NULL
  kind text COLLATE C NOT NULL
  path text COLLATE C NOT NULL
  hash text COLLATE C NOT NULL
  language text COLLATE C NOT NULL
  tag text COLLATE C NOT NULL
  priority integer NOT NULL
  created_us bigint NOT NULL
  scheduled_us bigint NOT NULL
  expires_us bigint NOT NULL
  created_by text COLLATE C NOT NULL
  email text COLLATE C NOT NULL
  parent uuid
  root uuid
  key bytea
  on_limit text COLLATE C NOT NULL
  timeout_us bigint NOT NULL
  max_lost integer NOT NULL
  delete_after_us bigint NOT NULL
  content bytea NOT NULL
  args bytea
  labels bytea NOT NULL DEFAULT '\x'::bytea
  phase smallint NOT NULL DEFAULT 0
  queue_limit bigint NOT NULL DEFAULT 0
  step text COLLATE C NOT NULL DEFAULT ''::text
  step_n integer NOT NULL DEFAULT 0
  scope text COLLATE C NOT NULL DEFAULT ''::text
  schedule text COLLATE C NOT NULL DEFAULT ''::text;

TABLE job_state {fillfactor=70,autovacuum_vacuum_scale_factor=0.05,autovacuum_vacuum_insert_scale_factor=0.2}
  seq bigint NOT NULL
  rev bigint NOT NULL
  state smallint NOT NULL
  outcome smallint NOT NULL
  attempt integer NOT NULL
  lost integer NOT NULL
  started_us bigint NOT NULL
  completed_us bigint NOT NULL
  worker text COLLATE C NOT NULL
  canceled_by bytea NOT NULL
  canceled_reason bytea NOT NULL
  limit_n integer NOT NULL
  limit_window_us bigint NOT NULL
  limit_mode text COLLATE C NOT NULL
  expiry_us bigint NOT NULL
  delete_us bigint NOT NULL
  progress smallint NOT NULL DEFAULT 0;

TABLE label 
  label bytea NOT NULL
  job_seq bigint NOT NULL;

TABLE later {autovacuum_vacuum_scale_factor=0.02}
  line_id bigint NOT NULL
  due_us bigint NOT NULL
  neg integer NOT NULL
  job_seq bigint NOT NULL;

TABLE line {fillfactor=50,autovacuum_vacuum_scale_factor=0.05}
  id bigint NOT NULL
  queued bigint NOT NULL
  scheduled bigint NOT NULL
  head_neg integer NOT NULL
  head_due_us bigint NOT NULL
  head_seq bigint NOT NULL
  head_n integer NOT NULL
  head_window_us bigint NOT NULL
  head_mode text COLLATE C NOT NULL
  next_due_us bigint NOT NULL
  turn bigint NOT NULL
  ready boolean NOT NULL
  blocked_by text COLLATE C NOT NULL
  wake_us bigint NOT NULL
  group_id bigint NOT NULL
  workspace text COLLATE C NOT NULL
  path text COLLATE C NOT NULL
  tag text COLLATE C NOT NULL;

TABLE log 
  job_seq bigint NOT NULL
  end_utf16 bigint NOT NULL
  end_byte bigint NOT NULL
  utf16 bigint NOT NULL
  byte bigint NOT NULL
  text bytea NOT NULL;

TABLE log_raw {fillfactor=80}
  job_seq bigint NOT NULL
  execution bigint NOT NULL
  raw_end bigint NOT NULL;

TABLE member 
  workspace text COLLATE C NOT NULL
  email text COLLATE C NOT NULL
  role text NOT NULL
  since_us bigint NOT NULL;

TABLE meta 
  one smallint NOT NULL
  rev_epoch bigint NOT NULL;

TABLE resource 
  workspace text COLLATE C NOT NULL
  path text COLLATE C NOT NULL
  type text COLLATE C NOT NULL
  created_by text COLLATE C NOT NULL
  edited_by text COLLATE C NOT NULL
  edited_us bigint NOT NULL
  description bytea NOT NULL
  value bytea NOT NULL;

TABLE result 
  seq bigint NOT NULL
  result bytea NOT NULL;

TABLE schedule {fillfactor=70}
  workspace text COLLATE C NOT NULL
  path text COLLATE C NOT NULL
  enabled boolean NOT NULL
  next_us bigint NOT NULL
  failed bigint NOT NULL
  next_job uuid
  edited_us bigint NOT NULL
  edited_by text COLLATE C NOT NULL
  email text COLLATE C NOT NULL
  error bytea NOT NULL
  body bytea NOT NULL;

TABLE script 
  n bigint NOT NULL IDENTITY
  workspace text COLLATE C NOT NULL
  hash text COLLATE C NOT NULL
  path text COLLATE C NOT NULL
  parent text COLLATE C NOT NULL
  language text COLLATE C NOT NULL
  summary bytea NOT NULL
  kind text COLLATE C NOT NULL
  settings bytea
  created_by text COLLATE C NOT NULL
  created_us bigint NOT NULL
  archived boolean NOT NULL
  deleted boolean NOT NULL
  newest boolean NOT NULL
  content bytea NOT NULL
  lock bytea
  lock_error bytea NOT NULL DEFAULT '\x'::bytea;

TABLE secret 
  name text COLLATE C NOT NULL
  value bytea NOT NULL;

TABLE stand {autovacuum_vacuum_scale_factor=0.02}
  line_id bigint NOT NULL
  neg integer NOT NULL
  due_us bigint NOT NULL
  job_seq bigint NOT NULL;

TABLE stream 
  job_seq bigint NOT NULL
  end_utf16 bigint NOT NULL
  end_byte bigint NOT NULL
  utf16 bigint NOT NULL
  byte bigint NOT NULL
  text bytea NOT NULL;

TABLE stream_raw {fillfactor=80}
  job_seq bigint NOT NULL
  execution bigint NOT NULL
  raw_end bigint NOT NULL;

TABLE tally 
  workspace text COLLATE C NOT NULL
  tag text COLLATE C NOT NULL
  scheduled bigint NOT NULL
  queued bigint NOT NULL
  running bigint NOT NULL;

TABLE tick 
  workspace text COLLATE C NOT NULL
  path text COLLATE C NOT NULL
  due_us bigint NOT NULL;

TABLE token 
  hash bytea NOT NULL
  prefix text NOT NULL
  email text COLLATE C NOT NULL
  label bytea NOT NULL
  session boolean NOT NULL
  workspace text COLLATE C NOT NULL
  scopes text
  created_us bigint NOT NULL
  expires_us bigint NOT NULL
  used_us bigint NOT NULL;

TABLE usergroup 
  workspace text COLLATE C NOT NULL
  name text COLLATE C NOT NULL
  summary text NOT NULL;

TABLE usergroup_member 
  workspace text COLLATE C NOT NULL
  name text COLLATE C NOT NULL
  email text COLLATE C NOT NULL;

TABLE variable 
  workspace text COLLATE C NOT NULL
  path text COLLATE C NOT NULL
  key_id bigint NOT NULL
  created_by text COLLATE C NOT NULL
  edited_by text COLLATE C NOT NULL
  edited_us bigint NOT NULL
  description bytea NOT NULL
  value bytea NOT NULL;

TABLE worker {fillfactor=50}
  name text COLLATE C NOT NULL
  instance text COLLATE C NOT NULL
  started_us bigint NOT NULL
  ping_us bigint NOT NULL
  gone boolean NOT NULL
  word text NOT NULL;

TABLE workspace 
  id text COLLATE C NOT NULL
  name bytea NOT NULL
  owner bytea NOT NULL
  created_us bigint NOT NULL
  archived boolean NOT NULL DEFAULT false;

TABLE workspace_key 
  workspace text COLLATE C NOT NULL
  id bigint NOT NULL
  created_us bigint NOT NULL
  master text COLLATE C NOT NULL
  wrapped bytea NOT NULL;

