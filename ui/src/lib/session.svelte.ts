// Who is signed in, and what happens when that ends: the page asks again for the
// password over what is open, and sends the request that was refused once more.
import { base } from './base';
import type { Me, Member, Membership } from '../api/types';

class Session {
  /** undefined: not known yet; null: nobody. */
  me = $state<Me | null | undefined>(undefined);
  workspaces = $state<Membership[]>([]);
  /** Who that is in the workspace that is open; undefined: not known yet. */
  member = $state.raw<Member>();
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
      const [res, list] = await Promise.all([fetch(base + 'api/users/whoami'), fetch(base + 'api/workspaces/users')]);
      if (res.status === 401) {
        this.me = null;
        return;
      }
      if (!res.ok) throw new Error(await res.text());
      const me = (await res.json()) as Me;
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
    this.member = undefined;
    this.expired = false;
    this.#waiting = [];
    return '';
  }

  /** enter asks what the person may do in a workspace. Without an answer all is offered: the server decides. */
  async enter(workspace: string): Promise<void> {
    if (this.member?.workspace_id === workspace) return;
    let member: Member = { workspace_id: workspace };
    try {
      const res = await fetch(`${base}api/w/${encodeURIComponent(workspace)}/users/whoami`);
      if (res.ok) member = (await res.json()) as Member;
    } catch {
      // What fails now is tried again by the calls of the page.
    }
    this.member = { ...member, workspace_id: workspace };
  }

  /** May save scripts, flows and schedules, run what is not saved, and cancel what others have started. */
  get mayEdit(): boolean {
    return this.member?.operator !== true;
  }

  /** mayCancel says whether the person may cancel a run: an operator those of its own. */
  mayCancel(job: { email?: string }): boolean {
    return this.mayEdit || job.email === this.me?.email;
  }

  /** Administers the workspace that is open. */
  get admin(): boolean {
    return this.member?.is_admin === true || this.superAdmin;
  }

  get superAdmin(): boolean {
    return this.me?.super_admin === true;
  }
}

export const session = new Session();
