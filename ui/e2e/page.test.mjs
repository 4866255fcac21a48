// The page against a real server, in a real browser. Every step waits for what
// it wants to see; nothing depends on how fast that comes.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test as step } from 'node:test';
import { launch, open, Server, signIn } from './world.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const server = new Server();
let browser;
let page;
const trouble = [];

before(async () => {
  [browser] = await Promise.all([launch(), server.start()]);
  page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  page.setDefaultTimeout(20_000);
  page.on('pageerror', (e) => trouble.push(`error: ${e.message}`));
  page.on('console', (m) => {
    if (/Content Security Policy|Uncaught/i.test(m.text())) trouble.push(m.text());
  });
  page.on('request', (r) => {
    if (!r.url().startsWith(server.url) && !/^(data|blob):/.test(r.url())) trouble.push(`a request to ${r.url()}`);
  });
});

after(async () => {
  await browser?.close();
  await server.remove();
  assert.deepEqual(trouble, [], 'errors, breaches of the policy, requests to other hosts');
});

let broken = '';

/** test is a step of the story: what comes after a failed one is not tried. */
function test(name, does) {
  step(name, async () => {
    assert.equal(broken, '', 'a step before this one has failed');
    try {
      await does();
    } catch (e) {
      broken = path.join(tmpdir(), 'sluice-ui-failed.png');
      await page?.screenshot({ path: broken });
      console.error(`${name}: see ${broken}`);
      throw e;
    }
  });
}

/** accessible fails with what axe finds on the page as it is. */
async function accessible(what) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }));
  const said = found.violations.map((v) => `${v.id}: ${v.help}\n${v.nodes.map((n) => `    ${n.target} ${n.failureSummary}`).join('\n')}`);
  assert.deepEqual(said, [], `axe on ${what}`);
}

/** everywhere looks at a page wide and in light, narrow and in dark, and wider than most. */
async function everywhere(what, ready) {
  for (const [colorScheme, width] of [['light', 1920], ['light', 1280], ['dark', 390]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 860 });
    await ready();
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(over <= 0, `${what} at ${width}: ${over} px too wide`);
    if (width < 1920) await accessible(`${what}, ${colorScheme}, ${width}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1280, height: 860 });
}

const row = (name) => page.getByRole('row').filter({ hasText: name });
const heading = (name) => page.getByRole('heading', { name, exact: true }).waitFor();

test('signs in, and says what is wrong', async () => {
  await page.goto(server.url + '/');
  await page.getByLabel('E-mail').fill('admin@sluice.local');
  await page.getByLabel('Password').fill('wrong');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText('wrong').waitFor();
  await everywhere('sign-in', () => page.getByRole('button', { name: 'Sign in' }).waitFor());
  await signIn(page, server);
  const cookie = (await page.context().cookies()).find((c) => c.name === 'token');
  assert.ok(cookie.httpOnly && cookie.sameSite === 'Lax');
  await page.getByText('Nothing has run yet').waitFor();
});

test('shows runs as they come, filters them and cancels', async () => {
  await server.script({ path: 'f/t/slow', content: 'sleep 600', concurrent_limit: 2, concurrency_time_window_s: 60, concurrency_key: 'api/$args[who]' });
  await server.script({ path: 'f/t/quick', content: 'echo hello' });
  await Promise.all(Array.from({ length: 30 }, () => server.run('f/t/slow', { who: 'a' })));
  await server.run('f/t/quick');
  await row('f/t/quick').getByText('Succeeded').waitFor(); // live: nothing was loaded again
  await page.getByText('31 loaded').waitFor();

  await page.getByPlaceholder('Limit key').fill('api/a');
  await page.keyboard.press('Enter');
  await page.getByText('30 loaded').waitFor();
  assert.match(page.url(), /key=api%2Fa/);
  await page.getByText('At most 2 executions in any 1 min').first().waitFor();
  await page.getByText('Concurrency', { exact: true }).click();
  await page.getByLabel('State').selectOption('waiting');
  await page.getByText('28 loaded').waitFor();
  await everywhere('runs', () => row('f/t/slow').first().waitFor());

  await row('f/t/slow').nth(1).getByRole('checkbox').check();
  await row('f/t/slow').nth(2).getByRole('checkbox').check();
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('2 waiting runs will not start. 0 running ones').waitFor();
  await accessible('the question before a cancel');
  await dialog.getByRole('button', { name: 'Cancel them' }).click();
  await page.getByText('26 loaded').waitFor();

  await page.reload(); // filters live in the URL
  await page.getByText('26 loaded').waitFor();
  await page.getByRole('button', { name: 'Clear', exact: true }).click();
  await page.getByText('31 loaded').waitFor();
});

test('can be paused', async () => {
  await page.getByRole('button', { name: 'Pause live changes' }).click();
  await server.run('f/t/quick');
  await page.getByText('held back').waitFor();
  await page.getByText('31 loaded').waitFor();
  await page.keyboard.press('p');
  await page.getByText('32 loaded').waitFor();
});

test('needs no mouse', async () => {
  await page.keyboard.press('/');
  await page.keyboard.type('f/t/q');
  await page.getByText('2 loaded').waitFor();
  await page.keyboard.press('Escape');
  await row('f/t/quick').first().getByRole('link').focus();
  await page.keyboard.press('ArrowDown');
  await page.waitForFunction(() => document.activeElement?.closest('[data-index="1"]'));
  await page.keyboard.press('Space');
  await page.getByText('1 selected').waitFor();
  await page.keyboard.press('?');
  await page.getByRole('dialog').getByText('Keyboard').waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  await page.getByText('32 loaded').waitFor();
});

const colours = `printf '\\033[31mred\\033[0m words\\n'
for i in $(seq 300); do echo "line $i"; done
echo '{"a": [1, 2]}'
`;

test('says why a run waits, and shows one that runs and one that has ended', async () => {
  await server.script({ path: 'f/t/two', content: colours, concurrent_limit: 2, concurrency_time_window_s: 3600 });
  const ids = [];
  for (let i = 0; i < 4; i++) ids.push(await server.run('f/t/two'));
  await open(page, `run/${ids[0]}`);
  await page.getByText('Succeeded').waitFor();
  await page.getByRole('log').getByText('line 300', { exact: true }).waitFor(); // it follows
  await page.getByPlaceholder('Search the log').fill('red words');
  await page.getByText('1 of 1').waitFor();
  await page.locator('.fg-red').getByText('red').waitFor(); // a hit across a change of colour
  await page.getByRole('button', { name: 'Raw' }).first().click();
  await page.getByRole('region', { name: 'Result' }).getByText('[1, 2]').waitFor();
  await everywhere('a run that has ended', () => page.getByRole('heading', { name: 'f/t/two' }).waitFor());

  await open(page, `run/${ids[3]}`);
  const wait = page.locator('[data-wait="limit"]');
  await wait.getByText('At most 2 executions in any 1 h').waitFor();
  await wait.getByText('Slots taken: 2 / 2').waitFor();
  const answer = await server.api('GET', `w/main/jobs_u/wait/${ids[3]}`);
  assert.equal(await wait.locator('[data-fact="position"]').textContent(), String(answer.position.n));
  const [first] = await wait.getByText(/frees in/).allTextContents();
  await page.waitForFunction((was) => document.querySelector('.slot .in')?.textContent && ![...document.querySelectorAll('.slot .num')].some((e) => e.textContent === was), first); // it ticks
  await everywhere('a run that waits', () => wait.waitFor());

  await server.api('POST', `w/main/jobs_u/queue/cancel/${ids[2]}`, {});
  await page.waitForFunction(() => document.querySelector('[data-fact="position"]')?.textContent === '1'); // live
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('dialog').getByText('It will not start').waitFor();
  await page.getByLabel('Reason (optional)').fill('not needed');
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('heading', { name: 'Cancelled by admin: not needed' }).waitFor();

  const lost = await server.run('f/t/quick', {}, '?tag=nobody');
  await open(page, `run/${lost}`);
  await page.locator('[data-wait="no_worker"]').getByText('No living worker serves the tag “nobody”').waitFor();
  await server.api('POST', `w/main/jobs_u/queue/cancel/${lost}`, {});
  await open(page, 'runs');
  await page.getByText('37 loaded').waitFor();
});

test('survives a restart of the server and the end of a session', async () => {
  await server.stop();
  await page.getByText('Connection lost').waitFor();
  await server.start();
  await page.locator('[data-live="live"]').waitFor();
  await server.run('f/t/quick');
  await page.getByText('38 loaded').waitFor();

  await page.context().clearCookies();
  await page.getByPlaceholder('Path begins with').fill('f/t/slow');
  await page.getByRole('dialog').getByText('Your session has ended').waitFor();
  await accessible('the end of a session');
  await page.getByLabel('Password').fill(server.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('30 loaded').waitFor(); // what was asked goes on
  assert.equal(await page.getByPlaceholder('Path begins with').inputValue(), 'f/t/slow');
});

test('signs out', async () => {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
});
