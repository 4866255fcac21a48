// A real server with real workers, and a real browser in front of it.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const binary = process.env.SLUICE_BIN ?? path.join(root, 'bin/sluice');
const email = 'admin@sluice.local';

/** A server on a fresh data folder. */
export class Server {
  #child;
  #addr = '127.0.0.1:0';
  log = '';

  constructor() {
    if (!existsSync(binary)) throw new Error(`${binary} is missing: run make build`);
    this.data = mkdtempSync(path.join(tmpdir(), 'sluice-ui-'));
  }

  async start() {
    this.#child = spawn(binary, ['server', '--addr', this.#addr, '--data', this.data, '--seed', '--workers', '4', '--grace', '1s'], { stdio: ['ignore', 'pipe', 'pipe'] });
    const child = this.#child;
    await new Promise((resolve, reject) => {
      const hear = (chunk) => {
        this.log += chunk;
        const url = /URL\s+(http:\S+)/.exec(this.log.slice(this.#from));
        if (url) {
          this.url = url[1];
          this.#addr = new URL(this.url).host; // the same one after a restart
          resolve();
        }
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.once('exit', (code) => reject(new Error(`the server ended with ${code}:\n${this.log}`)));
      child.once('error', reject);
    });
    this.password = readFileSync(path.join(this.data, 'admin-password'), 'utf8').trim();
    this.token = readFileSync(path.join(this.data, 'token'), 'utf8').trim();
  }

  #from = 0;

  async stop() {
    if (!this.#child || this.#child.exitCode !== null) return;
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    await gone;
    this.#from = this.log.length;
  }

  async remove() {
    await this.stop();
    rmSync(this.data, { recursive: true, force: true });
  }

  /** api calls the HTTP API as the administrator. */
  async api(method, route, body) {
    const res = await fetch(this.url + '/api/' + route, {
      method,
      headers: { Authorization: `Bearer ${this.token}`, 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await res.text();
    if (!res.ok) throw new Error(`${method} ${route}: ${res.status} ${text}`);
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }

  script(fields) {
    return this.api('POST', 'w/main/scripts/create', { language: 'bash', ...fields });
  }

  run(where, args = {}, query = '') {
    return this.api('POST', `w/main/jobs/run/p/${where}${query}`, args);
  }
}

export function launch() {
  const executablePath = process.env.SLUICE_CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
  if (!executablePath) throw new Error('Chromium is missing: run make setup');
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--force-color-profile=srgb'] });
}

export async function signIn(page, server, who = { email, password: server.password }) {
  await page.goto(server.url + '/');
  await page.getByLabel('E-mail').fill(who.email);
  await page.getByLabel('Password').fill(who.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Runs', exact: true }).waitFor();
}

/** open goes to a page of the workspace main. */
export async function open(page, where) {
  await page.evaluate((to) => (location.hash = '#/main/' + to), where);
}
