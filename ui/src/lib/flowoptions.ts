// The options of a step that the server carries out, and on which steps. Pure.
import { isContainer, isLeaf, isLoop, type Module } from './flow';
import { text } from '../text';

export interface OptionField {
  at: string[];
  kind: 'int' | 'seconds' | 'expr' | 'text' | 'bool' | 'json' | 'form';
  label: string;
}

export interface Option {
  name: string;
  title: string;
  hint: string;
  fits: (m: Module) => boolean;
  begin: unknown;
  fields: OptionField[];
  /** Not on the failure module and the preprocessor. */
  steps?: boolean;
}

const all = () => true;
const t = text.flow.options;
const expr: OptionField = { at: ['expr'], kind: 'expr', label: t.expr };

export const options: Option[] = [
  {
    name: 'retry', ...t.retry, fits: isLeaf, steps: true, begin: { constant: { attempts: 2, seconds: 5 } },
    fields: [
      { at: ['constant', 'attempts'], kind: 'int', label: t.attempts },
      { at: ['constant', 'seconds'], kind: 'int', label: t.between },
      { at: ['exponential', 'attempts'], kind: 'int', label: t.expAttempts },
      { at: ['exponential', 'multiplier'], kind: 'int', label: t.multiplier },
      { at: ['exponential', 'seconds'], kind: 'int', label: t.base },
      { at: ['exponential', 'random_factor'], kind: 'int', label: t.jitter },
      { at: ['retry_if', 'expr'], kind: 'expr', label: t.retryIf },
    ],
  },
  { name: 'timeout', ...t.timeout, fits: isLeaf, begin: 300, fields: [{ at: [], kind: 'seconds', label: t.seconds }] },
  {
    name: 'stop_after_if', ...t.stop, fits: (m) => m.value.type !== 'branchall', steps: true, begin: { expr: 'result == null', skip_if_stopped: false },
    fields: [expr, { at: ['skip_if_stopped'], kind: 'bool', label: t.skipStopped }, { at: ['error_message'], kind: 'text', label: t.errorMessage }],
  },
  {
    name: 'stop_after_all_iters_if', ...t.stopAll, fits: (m) => isLoop(m) || m.value.type === 'branchall', steps: true, begin: { expr: 'result == null', skip_if_stopped: false },
    fields: [expr, { at: ['skip_if_stopped'], kind: 'bool', label: t.skipStopped }, { at: ['error_message'], kind: 'text', label: t.errorMessage }],
  },
  { name: 'skip_if', ...t.skip, fits: all, steps: true, begin: { expr: 'false' }, fields: [expr] },
  {
    name: 'suspend', ...t.suspend, fits: (m) => !isContainer(m), steps: true, begin: { required_events: 1, timeout: 86400 },
    fields: [
      { at: ['required_events'], kind: 'int', label: t.events },
      { at: ['timeout'], kind: 'int', label: t.suspendTimeout },
      { at: ['user_auth_required'], kind: 'bool', label: t.signedIn },
      { at: ['self_approval_disabled'], kind: 'bool', label: t.noSelf },
      { at: ['continue_on_disapprove_timeout'], kind: 'bool', label: t.goOn },
      { at: ['resume_form', 'schema'], kind: 'form', label: t.form },
    ],
  },
  { name: 'sleep', ...t.sleep, fits: all, steps: true, begin: { type: 'static', value: 5 }, fields: [{ at: [], kind: 'seconds', label: t.seconds }] },
  { name: 'cache_ttl', ...t.cache, fits: isLeaf, begin: 600, fields: [{ at: [], kind: 'int', label: t.seconds }] },
  { name: 'continue_on_error', ...t.goOnError, fits: (m) => m.value.type !== 'identity', steps: true, begin: true, fields: [] },
  { name: 'mock', ...t.mock, fits: all, steps: true, begin: { enabled: true, return_value: null }, fields: [{ at: ['enabled'], kind: 'bool', label: t.enabled }, { at: ['return_value'], kind: 'json', label: t.mockValue }] },
  { name: 'priority', ...t.priority, fits: isLeaf, begin: 10, fields: [{ at: [], kind: 'int', label: t.priorityValue }] },
  { name: 'delete_after_use', ...t.forget, fits: isLeaf, begin: true, fields: [] },
];

export const isOn = (m: Module, o: Option): boolean => m[o.name] != null && m[o.name] !== false;

export function read(m: Module, o: Option, at: string[]): unknown {
  let here: unknown = m[o.name];
  for (const part of at) here = here !== null && typeof here === 'object' ? (here as Record<string, unknown>)[part] : undefined;
  return here;
}

/** write sets a field of an option in place; undefined takes it out. */
export function write(m: Module, o: Option, at: string[], value: unknown): void {
  let here: Record<string, unknown> = m;
  const path = [o.name, ...at];
  for (const part of path.slice(0, -1)) {
    if (here[part] === null || typeof here[part] !== 'object') {
      if (value === undefined) return;
      here[part] = {};
    }
    here = here[part] as Record<string, unknown>;
  }
  const last = path.at(-1)!;
  if (value === undefined && at.length > 0) delete here[last];
  else if (value !== undefined) here[last] = value;
}
