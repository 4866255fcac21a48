// Where we are, from the fragment of the URL: #/WORKSPACE/PAGE?filters. The
// server sees one path alone, so the page works under any.

export interface Place {
  workspace: string;
  page: string;
  /** What the page is about: an id, a path, a key. */
  of: string;
  query: URLSearchParams;
}

function read(): Place {
  const [path = '', query = ''] = splitOnce(location.hash.replace(/^#\/?/, ''), '?');
  const [workspace = '', page = '', of = ''] = path.split('/').map(decode);
  return { workspace, page, of, query: new URLSearchParams(query) };
}

function splitOnce(s: string, at: string): [string, string] {
  const i = s.indexOf(at);
  return i < 0 ? [s, ''] : [s.slice(0, i), s.slice(i + 1)];
}

function decode(s: string): string {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

class Router {
  place = $state.raw<Place>(read());

  constructor() {
    addEventListener('hashchange', () => (this.place = read()));
  }

  /** href is the link to a page of the workspace that is open. */
  href(page: string, of = '', query?: Record<string, string | undefined> | URLSearchParams): string {
    return hrefIn(this.place.workspace, page, of, query);
  }

  /** group is the link to a concurrency group: any key, an empty one included. */
  group(key: string): string {
    return this.href('limit', '', new URLSearchParams({ key }));
  }

  go(page: string, of = '', query?: Record<string, string | undefined>): void {
    location.hash = this.href(page, of, query);
  }

  /** setQuery replaces what stands after the question mark, without a new entry in the history. */
  setQuery(query: URLSearchParams): void {
    const to = hrefIn(this.place.workspace, this.place.page, this.place.of, query);
    if (to === location.hash) return;
    history.replaceState(null, '', to);
    this.place = read();
  }

  enter(workspace: string): void {
    location.hash = hrefIn(workspace, 'runs');
  }
}

export function hrefIn(workspace: string, page: string, of = '', query?: Record<string, string | undefined> | URLSearchParams): string {
  let q = query instanceof URLSearchParams ? query : new URLSearchParams();
  if (query && !(query instanceof URLSearchParams)) {
    q = new URLSearchParams(Object.entries(query).filter((e): e is [string, string] => e[1] !== undefined && e[1] !== ''));
  }
  const rest = q.toString();
  return `#/${encodeURIComponent(workspace)}/${page}${of === '' ? '' : '/' + encodeURIComponent(of)}${rest === '' ? '' : '?' + rest}`;
}

export const router = new Router();

/** oneOf is what a URL asks for if it is among some, else the first of them. */
export function oneOf<T extends string>(asked: string | null, some: readonly [T, ...T[]]): T {
  return some.find((s) => s === asked) ?? some[0];
}
