// Scripts and flows, as lists show them.
import type { FlowEntry, JSONSchema, LimitFields, Script } from '../api/types';
import { text } from '../text';
import { api, ok } from './api';

export interface Entry {
  path: string;
  summary: string;
  flow: boolean;
  /** Of a script its language. */
  language: string;
  /** Of a script; that of a flow is no part of the list. */
  limit?: LimitFields;
  by: string;
  at: string;
}

const PIECE = 1000;
const MOST = 10;

/** all asks for one piece of a list after the other, and for no more than the page can show. */
async function all<T>(piece: (page: number) => Promise<T[]>): Promise<T[]> {
  const out: T[] = [];
  for (let page = 1; page <= MOST; page++) {
    const got = await piece(page);
    out.push(...got);
    if (got.length < PIECE) break;
  }
  return out;
}

export async function scripts(workspace: string): Promise<Entry[]> {
  const list = await all(async (page) => (await ok(api.GET('/api/w/{workspace}/scripts/list', { params: { path: { workspace }, query: { page, per_page: PIECE } } }))) as unknown as Script[]);
  return list.map((s) => ({ path: s.path, summary: s.summary ?? '', flow: false, language: s.language, limit: s, by: s.created_by, at: s.created_at }));
}

export async function flows(workspace: string): Promise<Entry[]> {
  const list = await all(async (page) => (await ok(api.GET('/api/w/{workspace}/flows/list', { params: { path: { workspace }, query: { page, per_page: PIECE } } }))) as unknown as FlowEntry[]);
  return list.map((f) => ({ path: f.path, summary: f.summary ?? '', flow: true, language: text.scripts.flow, by: f.edited_by, at: f.edited_at }));
}

/** runnable says what a script or a flow takes, and under which limit it runs. */
export async function runnable(workspace: string, path: string, flow: boolean): Promise<{ schema?: JSONSchema; limit: LimitFields }> {
  const params = { path: { workspace, path } };
  if (flow) {
    const f = (await ok(api.GET('/api/w/{workspace}/flows/get/{path}', { params }))) as unknown as FlowEntry;
    return { schema: f.schema, limit: f.value ?? {} };
  }
  const s = (await ok(api.GET('/api/w/{workspace}/scripts/get/p/{path}', { params }))) as unknown as Script;
  if (s.schema?.properties) return { schema: s.schema, limit: s };
  const sig = await ok(api.POST('/api/scripts/{language}/tojsonschema', { params: { path: { language: s.language } }, body: s.content ?? '' })).catch(() => undefined);
  return { schema: (sig?.schema as JSONSchema | null | undefined) ?? undefined, limit: s };
}

/** byFolder sorts what holds a text by path, in folders. */
export function byFolder(entries: Entry[], needle: string): [string, Entry[]][] {
  const n = needle.toLowerCase();
  const by = new Map<string, Entry[]>();
  for (const e of [...entries].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    if (n && !e.path.toLowerCase().includes(n) && !e.summary.toLowerCase().includes(n)) continue;
    const parts = e.path.split('/');
    const folder = parts.length > 2 ? parts.slice(0, -1).join('/') : text.scripts.root;
    const list = by.get(folder);
    if (list) list.push(e);
    else by.set(folder, [e]);
  }
  return [...by.entries()];
}
