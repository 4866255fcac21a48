// Who is signed in, and what happens when that ends: the page asks again for the
// password over what is open, and sends the request that was refused once more.
import { base } from './base';
import type { Me, Membership } from '../api/types';

class Session {
  /** undefined: not known yet; null: nobody. */
  me = $state<Me | null | undefined>(undefined);
  workspaces = $state<Membership[]>([]);
  /** Somebody was signed in and is not any more. */
  expired = $state(false);
  /** Why the page cannot say who is signed in. */
  trouble = $state('');

  #waiting: (() => void)[] = [];

  /** renewed resolves when somebody has signed in again. */
  renewed(): Promise<void> {
    this.expired = true;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async load(): Promise<void> {
    this.trouble = '';
    try {
      const res = await fetch(base + 'api/users/whoami');
      if (res.status === 401) {
        this.me = null;
        return;
      }
      if (!res.ok) throw new Error(await res.text());
      const me = (await res.json()) as Me;
      const list = await fetch(base + 'api/workspaces/users');
      if (!list.ok) throw new Error(await list.text());
      this.workspaces = ((await list.json()) as { workspaces: Membership[] }).workspaces;
      this.me = me;
    } catch (e) {
      this.trouble = e instanceof Error ? e.message : String(e);
    }
  }

  /** signIn returns what went wrong, or the empty string. */
  async signIn(email: string, password: string): Promise<string> {
    let res: Response;
    try {
      res = await fetch(base + 'api/auth/login', { method: 'POST', body: JSON.stringify({ email, password }) });
    } catch {
      return 'unreachable';
    }
    if (!res.ok) return await res.text();
    const before = this.me?.email;
    await this.load();
    if (before && this.me && before !== this.me.email) {
      location.reload(); // what is open, and what was refused, is somebody else's
      return '';
    }
    this.expired = false;
    for (const go of this.#waiting.splice(0)) go();
    return this.trouble;
  }

  /** signOut returns what went wrong, or the empty string. */
  async signOut(): Promise<string> {
    try {
      const res = await fetch(base + 'api/auth/logout', { method: 'POST' });
      if (!res.ok && res.status !== 401) return await res.text();
    } catch {
      return 'unreachable';
    }
    this.me = null;
    this.expired = false;
    this.#waiting = [];
    return '';
  }

  get superAdmin(): boolean {
    return this.me?.super_admin === true;
  }
}

export const session = new Session();
