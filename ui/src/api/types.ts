// The API's values as the page uses them: the generated types, with the fields
// that are always there marked as such.
import type { components } from './schema';

type Schemas = components['schemas'];
type With<T, K extends keyof T> = Omit<T, K> & Required<Pick<T, K>>;

export type Wait = Omit<With<Schemas['Wait'], 'reason' | 'message' | 'slots_total' | 'tag' | 'scheduled_for'>, 'limit' | 'slots'> & {
  limit?: Limit;
  slots?: Slot[];
};
export type Slot = With<Schemas['WaitSlot'], 'since'>;
export type Limit = Required<Schemas['WaitLimit']>;
export type Job = Omit<
  With<Schemas['Job'], 'id' | 'type' | 'workspace_id' | 'created_at' | 'created_by' | 'canceled' | 'job_kind' | 'tag' | 'is_flow_step'>,
  'wait'
> & { wait?: Wait };
export type Obscured = Schemas['Obscured'];
export type FlowStatus = Omit<Schemas['FlowStatus'], 'modules' | 'failure_module'> & { modules: FlowModule[]; failure_module?: FlowModule };
export type FlowModule = With<Schemas['Module'], 'id' | 'type'>;
export type Group = With<Schemas['Group'], 'concurrency_key' | 'total_running' | 'waiting' | 'in_window' | 'paused'>;
export type Execution = With<Schemas['Execution'], 'id' | 'job_id' | 'attempt' | 'started_at'>;
export type Worker = With<Schemas['Worker'], 'worker' | 'worker_group' | 'worker_instance' | 'custom_tags' | 'jobs_executed' | 'last_ping' | 'started_at' | 'wm_version' | 'occupancy_rate'>;
export type Plan = Required<Schemas['Plan']>;
export type Me = Schemas['User'];
export type Member = Schemas['Member'];
export type Variable = With<Schemas['Variable'], 'path' | 'is_secret'>;
export type Resource = With<Schemas['Resource'], 'path' | 'resource_type' | 'created_by' | 'edited_at'>;
export type Token = With<Schemas['Token'], 'token_prefix' | 'created_at'>;
export type Membership = With<Schemas['Membership'], 'id' | 'name'>;

/** A limit as a person sets it: on a script, or as an override. */
export interface LimitFields {
  concurrent_limit?: number;
  concurrency_time_window_s?: number;
  concurrency_window_from?: 'end' | 'start';
  concurrency_key?: string;
}

export interface Script extends LimitFields {
  path: string;
  hash: string;
  language: string;
  content?: string;
  summary?: string;
  description?: string;
  schema?: JSONSchema;
  created_by: string;
  created_at: string;
  tag?: string;
  kind?: string;
  archived?: boolean;
  on_concurrency_limit?: 'queue' | 'fail';
  lock_error_logs?: string;
}

export interface FlowEntry {
  path: string;
  summary?: string;
  description?: string;
  edited_by: string;
  edited_at: string;
  schema?: JSONSchema;
  value?: { modules?: { id: string; summary?: string; value?: { type?: string; path?: string; language?: string } }[] } & LimitFields;
}

export interface Schedule {
  path: string;
  schedule: string;
  timezone: string;
  script_path: string;
  is_flow: boolean;
  enabled: boolean;
  summary?: string;
  error?: string;
  next_run?: string;
  edited_by: string;
  args?: Record<string, unknown>;
  cron_version?: string | null;
  no_flow_overlap?: boolean | null;
  paused_until?: string | null;
}

export interface JSONSchema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  format?: string;
  properties?: Record<string, JSONSchema>;
  required?: string[];
  order?: string[];
  items?: JSONSchema;
  minimum?: number;
  maximum?: number;
  contentEncoding?: string;
}

/** How far a live stream of a job is. */
export interface Update {
  type: 'update' | 'ping';
  running?: boolean;
  completed?: boolean;
  new_logs?: string | null;
  log_offset?: number;
  new_result_stream?: string;
  progress?: number;
  flow_status?: FlowStatus | null;
  job?: Job;
}
