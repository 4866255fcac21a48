// What a job writes, and how far it is, from its own stream. One that breaks off
// is opened again where it ended, so nothing comes twice.
import type { Update } from '../api/types';
import { base } from './base';

/**
 * follow hands over updates of a job until it is completed, and returns what ends it. over says,
 * when the stream broke off, that nothing more is to come.
 */
export function follow(workspace: string, id: string, on: (u: Update) => void, over: () => boolean): () => void {
  let source: EventSource | undefined;
  let again: ReturnType<typeof setTimeout> | undefined;
  let end = 0;
  function listen() {
    source = new EventSource(`${base}api/w/${encodeURIComponent(workspace)}/jobs_u/getupdate_sse/${id}?log_offset=${end}`);
    source.onmessage = (e) => {
      const u = JSON.parse(e.data as string) as Update;
      if (u.type !== 'update') return;
      if (u.log_offset !== undefined) end = u.log_offset;
      if (u.completed) source?.close();
      on(u);
    };
    source.onerror = () => {
      source?.close();
      if (!over()) again = setTimeout(listen, 1500);
    };
  }
  listen();
  return () => {
    source?.close();
    clearTimeout(again);
  };
}
