// The value of a flow, as the editor changes it: always the object that was
// loaded, in place, so that what the page does not know stays as it was. Pure.

export interface Transform {
  type?: string;
  value?: unknown;
  expr?: string;
}

export interface Branch {
  summary?: string;
  expr?: string;
  skip_failure?: boolean;
  modules?: Module[];
  [other: string]: unknown;
}

export interface ModuleValue {
  type?: string;
  language?: string;
  content?: string;
  path?: string;
  hash?: string;
  tag?: string;
  tag_override?: string;
  input_transforms?: Record<string, Transform>;
  iterator?: Transform;
  parallelism?: Transform | number;
  parallel?: boolean;
  skip_failures?: boolean;
  modules?: Module[];
  default?: Module[];
  branches?: Branch[];
  concurrent_limit?: number;
  concurrency_time_window_s?: number;
  concurrency_window_from?: 'end' | 'start';
  concurrency_key?: string;
  custom_concurrency_key?: string;
  on_concurrency_limit?: string;
  [other: string]: unknown;
}

export interface Module {
  id: string;
  summary?: string;
  value: ModuleValue;
  [other: string]: unknown;
}

export interface FlowValue {
  modules: Module[];
  failure_module?: Module | null;
  preprocessor_module?: Module | null;
  concurrent_limit?: number;
  concurrency_time_window_s?: number;
  concurrency_window_from?: 'end' | 'start';
  concurrency_key?: string;
  on_concurrency_limit?: string;
  early_return?: string;
  [other: string]: unknown;
}

export const kinds = ['rawscript', 'script', 'flow', 'forloopflow', 'whileloopflow', 'branchone', 'branchall', 'identity'] as const;
export type Kind = (typeof kinds)[number];

export const isLeaf = (m: Module): boolean => ['rawscript', 'script', 'flow'].includes(m.value.type ?? '');
export const isLoop = (m: Module): boolean => m.value.type === 'forloopflow' || m.value.type === 'whileloopflow';
export const isContainer = (m: Module): boolean => isLoop(m) || m.value.type === 'branchone' || m.value.type === 'branchall';

/** A list of steps within a flow. Its name is the server's: "" the flow, ID a loop's body, ID/N a branch, ID/default. */
export interface Scope {
  name: string;
  list: Module[];
  /** Of a branch: its summary or expression. */
  label: string;
  branch?: number | 'default';
}

/** scopesOf returns the lists within a step; those that are missing are empty. */
export function scopesOf(m: Module): Scope[] {
  const v = m.value;
  if (isLoop(m)) return [{ name: m.id, list: v.modules ?? [], label: '' }];
  if (v.type !== 'branchone' && v.type !== 'branchall') return [];
  const out: Scope[] = (v.branches ?? []).map((b, i) => ({
    name: `${m.id}/${i}`,
    list: b.modules ?? [],
    label: b.summary || (v.type === 'branchone' ? (b.expr ?? '') : ''),
    branch: i,
  }));
  if (v.type === 'branchone') out.push({ name: `${m.id}/default`, list: v.default ?? [], label: '', branch: 'default' });
  return out;
}

export interface Found {
  module: Module;
  /** The list that it stands in; undefined of the failure module and the preprocessor. */
  scope?: Scope;
  index: number;
  /** What it stands in, outermost first. */
  within: Found[];
}

export const failureId = (v: FlowValue): string => v.failure_module?.id || 'failure';
export const preprocessorId = (v: FlowValue): string => v.preprocessor_module?.id || 'preprocessor';

/** walk goes through all steps, in the order in which they are read. */
export function* walk(v: FlowValue): Generator<Found> {
  if (v.preprocessor_module) yield { module: v.preprocessor_module, index: 0, within: [] };
  yield* walkScope({ name: '', list: v.modules ?? [], label: '' }, []);
  if (v.failure_module) yield { module: v.failure_module, index: 0, within: [] };
}

function* walkScope(scope: Scope, within: Found[]): Generator<Found> {
  for (const [index, module] of scope.list.entries()) {
    const found = { module, scope, index, within };
    yield found;
    for (const inner of scopesOf(module)) yield* walkScope(inner, [...within, found]);
  }
}

export function find(v: FlowValue, id: string): Found | undefined {
  if (id === '') return undefined;
  for (const f of walk(v)) {
    if (f.module.id === id) return f;
    if (!f.scope && id === (f.module === v.failure_module ? failureId(v) : preprocessorId(v))) return f;
  }
  return undefined;
}

/** scopeOf returns the list with a name, which is made if it is missing. */
function scopeOf(v: FlowValue, name: string): Module[] | undefined {
  if (name === '') return (v.modules ??= []);
  const [id = '', branch] = name.split('/');
  const m = find(v, id)?.module.value;
  if (!m) return undefined;
  if (branch === undefined) return (m.modules ??= []);
  if (branch === 'default') return (m.default ??= []);
  const b = m.branches?.[Number(branch)];
  return b && (b.modules ??= []);
}

/** freshId is the next free one of a, b, … z, aa, ab, … */
export function freshId(v: FlowValue): string {
  const used = new Set([...walk(v)].map((f) => f.module.id));
  for (let n = 0; ; n++) {
    let id = '';
    for (let k = n; k >= 0; k = Math.floor(k / 26) - 1) id = String.fromCharCode(97 + (k % 26)) + id;
    if (!used.has(id)) return id;
  }
}

export function newModule(kind: Kind, id: string, code: string): Module {
  switch (kind) {
    case 'rawscript':
      return { id, value: { type: kind, language: 'bash', content: code, input_transforms: {} } };
    case 'script':
    case 'flow':
      return { id, value: { type: kind, path: '', input_transforms: {} } };
    case 'forloopflow':
      return { id, value: { type: kind, iterator: { type: 'javascript', expr: 'flow_input.items' }, parallel: false, skip_failures: false, modules: [] } };
    case 'whileloopflow':
      return { id, value: { type: kind, skip_failures: false, modules: [] }, stop_after_if: { expr: 'true', skip_if_stopped: false } };
    case 'branchone':
      return { id, value: { type: kind, branches: [{ summary: '', expr: 'true', modules: [] }], default: [] } };
    case 'branchall':
      return { id, value: { type: kind, branches: [{ summary: '', skip_failure: false, modules: [] }], parallel: true } };
    case 'identity':
      return { id, value: { type: kind } };
  }
}

export function insert(v: FlowValue, scope: string, index: number, m: Module): void {
  scopeOf(v, scope)?.splice(index, 0, m);
}

export function remove(v: FlowValue, id: string): void {
  const f = find(v, id);
  if (!f) return;
  if (f.scope) f.scope.list.splice(f.index, 1);
  else if (f.module === v.failure_module) delete v.failure_module;
  else delete v.preprocessor_module;
}

/** moveTo takes a step to a place of a list, unless that is within the step itself. */
export function moveTo(v: FlowValue, id: string, scope: string, index: number): boolean {
  const f = find(v, id);
  const to = scopeOf(v, scope);
  if (!f?.scope || !to) return false;
  const owner = scope === '' ? undefined : find(v, scope.split('/')[0]!);
  if (owner && (owner.module === f.module || owner.within.some((w) => w.module === f.module))) return false;
  const same = f.scope.name === scope;
  f.scope.list.splice(f.index, 1);
  to.splice(same && f.index < index ? index - 1 : index, 0, f.module);
  return true;
}

/** rename gives a step another id, and has expressions that name it follow. */
export function rename(v: FlowValue, from: string, to: string): void {
  const f = find(v, from);
  if (!f) return;
  f.module.id = to;
  if (v.early_return === from) v.early_return = to;
  const plain = new RegExp(`\\bresults(\\??)\\.${from.replace(/-/g, '\\-')}(?![\\w-])`, 'g');
  const quoted = new RegExp(`\\bresults\\[(['"])${from}\\1\\]`, 'g');
  const dotted = /^\w+$/.test(to);
  const follow = (o: unknown): void => {
    if (o === null || typeof o !== 'object') return;
    const at = o as Record<string, unknown>;
    if (typeof at.expr === 'string') {
      const next = at.expr.replace(plain, dotted ? `results$1.${to}` : `results['${to}']`).replace(quoted, `results['${to}']`);
      if (next !== at.expr) at.expr = next;
    }
    for (const inner of Object.values(at)) follow(inner);
  };
  follow(v);
}

export const idPattern = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/;

/** seen lists the steps whose results a step sees: before it in its list, and before what it stands in. */
export function seen(v: FlowValue, id: string): string[] {
  const f = find(v, id);
  if (!f) return [];
  if (!f.scope) return f.module === v.failure_module ? v.modules.map((m) => m.id) : [];
  return [...f.within, f].flatMap((w) => w.scope!.list.slice(0, w.index).map((m) => m.id));
}

/** names lists what an expression of a step may begin with. */
export function names(v: FlowValue, id: string, inputs: string[], own: boolean): string[] {
  const f = find(v, id);
  const dot = (base: string, name: string) => (/^[A-Za-z_$][\w$]*$/.test(name) ? `${base}.${name}` : `${base}[${JSON.stringify(name)}]`);
  const out = seen(v, id).map((s) => dot('results', s));
  out.push(...inputs.map((n) => dot('flow_input', n)), 'previous_result');
  if (f?.within.some((w) => isLoop(w.module))) out.push('flow_input.iter.value', 'flow_input.iter.index');
  if (own) out.push('result');
  if (f && f.module === v.failure_module) out.push('error.message', 'error.name', 'error.step_id');
  if ([...walk(v)].some((w) => w.module.suspend)) out.push('resume', 'approvers');
  return out;
}

const copy = <T>(v: T): T => JSON.parse(JSON.stringify(v)) as T;

/** upTo is a flow that ends with a step. */
export function upTo(v: FlowValue, id: string): FlowValue {
  const out = copy(v);
  const f = find(out, id);
  if (!f?.scope) return out;
  for (const w of [...f.within, f]) w.scope!.list.splice(w.index + 1);
  if (out.early_return && !out.modules.some((m) => m.id === out.early_return)) delete out.early_return;
  return out;
}

/** alone is a flow of one step with arguments that are given. */
export function alone(v: FlowValue, id: string, args: Record<string, unknown>): FlowValue {
  const m = copy(find(v, id)!.module);
  m.id = id;
  for (const name of ['skip_if', 'stop_after_if', 'stop_after_all_iters_if', 'suspend', 'sleep', 'continue_on_error', 'cache_ttl', 'mock']) delete m[name];
  m.value.input_transforms = Object.fromEntries(Object.entries(args).map(([name, value]) => [name, { type: 'static', value }]));
  const out: FlowValue = { modules: [m] };
  if (v.flow_env !== undefined) out.flow_env = copy(v.flow_env);
  return out;
}

/** at finds the step that a field of the server's answer lies in: value.modules[2].value.content. */
export function at(v: FlowValue, field: string): Module | undefined {
  let here: unknown = { value: v };
  let last: Module | undefined;
  for (const part of field.match(/[^.[\]]+/g) ?? []) {
    if (here === null || typeof here !== 'object') break;
    here = (here as Record<string, unknown>)[part];
    const m = here as Module | undefined;
    if (m !== null && typeof m === 'object' && !Array.isArray(m) && typeof m.value === 'object' && m.value && 'type' in m.value) last = m;
  }
  return last;
}
