import createClient from 'openapi-fetch';
import type { paths } from '../api/schema';
import { text } from '../text';
import { base } from './base';
import { session } from './session.svelte';

/** Failure is a call that was answered with an error, or not at all (status 0). */
export class Failure extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function send(request: Request): Promise<Response> {
  for (;;) {
    let res: Response;
    try {
      res = await fetch(request.clone());
    } catch (e) {
      if (request.signal.aborted) throw e;
      throw new Failure(0, text.errors.unreachable);
    }
    if (res.status !== 401) return res;
    await session.renewed();
  }
}

const client = createClient<paths>({ baseUrl: base.replace(/\/$/, ''), fetch: send });

/** The calls of the API. Their answers go through ok. */
export const api = client;

/** ok returns what a call was answered with, or throws a Failure. */
export async function ok<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok) throw new Failure(response.status, errorText(error, response.status));
  return data as T;
}

function errorText(error: unknown, status: number): string {
  if (typeof error === 'string' && error !== '') return error;
  if (error && typeof error === 'object' && 'error' in error) {
    const e = (error as { error: unknown }).error;
    if (typeof e === 'string') return e;
    if (e && typeof e === 'object' && 'message' in e) return String((e as { message: unknown }).message);
  }
  return text.errors.status(status);
}

/** say makes a sentence of whatever was thrown. */
export function say(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}
