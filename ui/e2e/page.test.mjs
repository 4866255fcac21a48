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
    if (/Content Security Policy|Uncaught/i.test(m.text())) trouble.push(`${m.text()} (${m.location().url}:${m.location().lineNumber}, ${page.url()})`);
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

const everyRule = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
/** What depends on the theme and the width. */
const looks = { type: 'rule', values: ['color-contrast', 'target-size', 'scrollable-region-focusable'] };

/** accessible fails with what axe finds on the page as it is. */
async function accessible(what, runOnly = everyRule) {
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe);
  const found = await page.evaluate((rules) => globalThis.axe.run(document, { runOnly: rules, resultTypes: ['violations'] }), runOnly);
  const said = found.violations.map((v) => `${v.id}: ${v.help}\n${v.nodes.map((n) => `    ${n.target} ${n.failureSummary}`).join('\n')}`);
  assert.deepEqual(said, [], `axe on ${what}`);
}

/** everywhere looks at a page wide and in light, narrow and in dark, and wider than most. */
async function everywhere(what, ready) {
  for (const [colorScheme, width] of [['light', 1920], ['light', 1280], ['dark', 390]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 860 });
    await ready();
    await page
      .waitForFunction(() => [document.documentElement, document.querySelector('#content')].every((e) => !e || e.scrollWidth <= e.clientWidth))
      .catch(() => assert.fail(`${what} is wider than ${width} px`));
    if (width < 1920) await accessible(`${what}, ${colorScheme}, ${width}`, colorScheme === 'dark' ? looks : everyRule);
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
  for (let i = 0; i < 2; i++) await server.run('f/t/slow', { who: 'a' }); // fresh runs join what is filtered
  await page.getByText('30 loaded').waitFor();
  await everywhere('runs', () => row('f/t/slow').first().waitFor());

  await row('f/t/slow').nth(1).getByRole('checkbox').check();
  await row('f/t/slow').nth(2).getByRole('checkbox').check();
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('2 waiting runs will not start. 0 running ones').waitFor();
  await accessible('the question before a cancel');
  await dialog.getByRole('button', { name: 'Cancel them' }).click();
  await page.getByText('28 loaded').waitFor();

  await page.reload(); // filters live in the URL
  await page.getByText('28 loaded').waitFor();
  await page.getByRole('button', { name: 'Clear', exact: true }).click();
  await page.getByText('33 loaded').waitFor();
});

test('can be paused', async () => {
  await page.getByRole('button', { name: 'Pause live changes' }).click();
  await server.run('f/t/quick');
  await page.getByText('held back').waitFor();
  await page.getByText('33 loaded').waitFor();
  await page.keyboard.press('p');
  await page.getByText('34 loaded').waitFor();
});

test('needs no mouse', async () => {
  await page.keyboard.press('/');
  await page.keyboard.type('f/t/q');
  await page.getByText(/^2 loaded/).waitFor();
  await page.keyboard.press('Escape'); // empties the field
  await page.getByText(/^34 loaded/).waitFor();
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
  await page.getByText('34 loaded').waitFor();
});

test('does things to all that match, which the server counts', async () => {
  for (let n = 1; n <= 5; n++) await server.run('f/t/quick', { n }, '?tag=nobody');
  const many = (list) => page.getByText(new RegExp(`^${list} loaded`)).waitFor();
  const dialog = page.getByRole('dialog');
  await open(page, 'runs?tag=nobody&state=waiting');
  await many(5);
  await page.getByRole('button', { name: 'All that match…' }).click();
  await page.getByText('All runs that match are chosen').waitFor();
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await dialog.getByText('Cancel 5 runs?').waitFor();
  await dialog.getByText('5 waiting runs will not start. 0 running ones').waitFor();
  await accessible('the question before all are cancelled');
  await dialog.getByRole('button', { name: 'Cancel them' }).click();
  await page.getByText('No run matches').first().waitFor();
  await page.getByLabel('State').selectOption('canceled');
  await many(5);
  await page.getByRole('button', { name: 'All that match…' }).click();
  await page.getByRole('button', { name: 'Run again' }).click();
  await dialog.getByText('Run 5 runs again?').waitFor();
  await dialog.getByRole('button', { name: 'Run again' }).click();
  await page.getByText('5 pushed').waitFor();

  await page.getByRole('button', { name: 'Clear', exact: true }).click();
  await page.getByRole('button', { name: 'More filters' }).click();
  await page.getByLabel('Arguments hold').fill('{"n": 3');
  await page.keyboard.press('Enter');
  await page.getByText('This is no JSON').waitFor();
  await page.getByLabel('Arguments hold').fill('{"n": 3}');
  await page.keyboard.press('Enter');
  await many(2);
  await server.run('f/t/quick', { n: 3 }); // what it holds is known to the server alone
  await many(3);
  await page.getByLabel('Result holds').fill('"hello"');
  await page.keyboard.press('Enter');
  await many(2);
  await page.getByRole('button', { name: 'Clear', exact: true }).click();
  await page.getByRole('button', { name: 'Fewer filters' }).click();
  await many(45);
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
  assert.match(first ?? '', /frees in \d/);
  await page.waitForFunction((was) => document.querySelector('.slot .in')?.textContent && ![...document.querySelectorAll('.slot .num')].some((e) => e.textContent === was), first); // it ticks
  await everywhere('a run that waits', () => wait.waitFor());

  await server.api('POST', `w/main/jobs_u/queue/cancel/${ids[2]}`, {});
  await page.waitForFunction(() => document.querySelector('[data-fact="position"]')?.textContent === '1'); // live
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('dialog').getByText('It will not start').waitFor();
  await page.getByLabel('Reason (optional)').fill('not needed');
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('heading', { name: 'Cancelled by admin: not needed' }).waitFor();

  const said = '# Report\n\n| what | n |\n|---|---|\n| **pens** | 3 |\n\n- [x](javascript:alert(1)) and [docs](https://example.com)\n';
  const content = `cat > result.json <<'E'\n${JSON.stringify({ markdown: said })}\nE\n`;
  await open(page, `run/${await server.api('POST', 'w/main/jobs/run/preview', { language: 'bash', content })}`);
  await page.getByRole('heading', { name: 'Report' }).waitFor();
  await page.getByRole('cell', { name: 'pens' }).locator('strong').waitFor();
  assert.deepEqual(await page.getByRole('region', { name: 'Result' }).getByRole('link').allTextContents(), ['docs']);
  await page.getByRole('button', { name: 'Show the code' }).click();
  await page.getByRole('textbox', { name: 'Code' }).getByText('cat > result.json').waitFor();
  await everywhere('a run that gives Markdown', () => page.getByRole('heading', { name: 'Report' }).waitFor());

  const lost = await server.run('f/t/quick', {}, '?tag=nobody');
  await open(page, `run/${lost}`);
  await page.locator('[data-wait="no_worker"]').getByText('No living worker serves the tag “nobody”').waitFor();
  await server.api('POST', `w/main/jobs_u/queue/cancel/${lost}`, {});
  await open(page, 'runs');
  await page.getByText('51 loaded').waitFor();
});

test("shows a group with the API's numbers, and changes it", async () => {
  const key = 'api/a';
  const route = `concurrency_groups/get/${encodeURIComponent(key)}`;
  await page.keyboard.press('g');
  await page.keyboard.press('l');
  await heading('Limits');
  await page.getByRole('columnheader', { name: 'Key' }).getByRole('button').click();
  await page.getByRole('link', { name: key }).waitFor();
  await everywhere('limits', () => page.getByRole('link', { name: key }).waitFor());
  await row(key).getByRole('img', { name: /^In use in the last hour: [0-9.]+ lately, [0-9.]+ at most, of 2$/ }).waitFor();
  await page.getByRole('columnheader', { name: 'Running' }).getByRole('button').click();
  await page.waitForFunction(() => document.querySelector('tbody tr')?.textContent?.includes('api/a'));
  await page.getByPlaceholder('Search keys').fill('no such key');
  await page.getByText('No key holds this text').waitFor();
  await page.getByPlaceholder('Search keys').fill('api/');
  await page.getByRole('link', { name: key }).click();
  await heading(key);
  const fact = (name) => page.locator(`[data-fact="${name}"]`).textContent();
  const g = await server.api('GET', route);
  assert.deepEqual(
    [await fact('running'), await fact('window'), await fact('limit'), await fact('waiting')],
    [g.total_running, g.in_window, g.concurrent_limit, g.waiting].map(String),
  );
  assert.equal(await page.getByRole('region', { name: 'Waiting line' }).getByRole('row').count(), g.waiting + 1);
  await everywhere('a group', () => page.getByRole('heading', { name: 'Waiting line' }).waitFor());

  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await dialog.getByText(`Nothing of this group will start. ${g.waiting} jobs wait; 2 jobs run and will end as usual.`).waitFor();
  await dialog.getByLabel('Why').fill('maintenance');
  await accessible('the question before a pause');
  await dialog.getByRole('button', { name: 'Pause the group' }).click();
  await page.getByText('Paused by admin').waitFor();
  assert.equal((await server.api('GET', route)).paused_why, 'maintenance');
  await page.getByRole('button', { name: 'Resume' }).click();
  await dialog.getByRole('button', { name: 'Resume the group' }).click();
  await page.getByText('Full').waitFor();

  await page.getByRole('button', { name: 'Override the limit' }).click();
  await dialog.getByLabel('Executions at most').fill('3');
  await dialog.getByText('At most 3 executions in any 1 min').waitFor();
  await dialog.getByRole('button', { name: 'Set the override' }).click();
  await page.waitForFunction(() => document.querySelector('[data-fact="running"]')?.textContent === '3'); // a slot more is taken at once
  assert.equal((await server.api('GET', route)).override.concurrent_limit, 3);

  await page.getByRole('button', { name: 'Cancel all waiting' }).click();
  await dialog.getByText(`${g.waiting - 1} jobs will not start`).waitFor();
  await dialog.getByRole('button', { name: `Cancel ${g.waiting - 1} jobs` }).click();
  await page.getByText('Nobody waits.').waitFor();
  assert.equal((await server.api('GET', route)).waiting, 0);
});

test('writes a script, gives it a limit in its settings, tries it out and runs it', async () => {
  await open(page, 'scripts');
  await heading('Scripts');
  await page.getByRole('link', { name: 'New script' }).click();
  await page.getByLabel('Path').fill('f/t/new');
  const editor = page.getByRole('textbox', { name: 'Code' });
  await editor.click();
  await page.keyboard.press('Control+a');
  await page.keyboard.press('Delete'); // by the editor: Chromium's own would leave a style attribute, which the policy refuses
  await page.keyboard.type('grep pgs?'); // letters of shortcuts are letters here
  await editor.getByText('grep pgs?').waitFor();
  assert.match(page.url(), /#\/main\/script/);
  assert.equal(await page.getByRole('dialog').count(), 0);
  await page.keyboard.press('Control+a');
  await page.keyboard.press('Delete');
  await page.keyboard.insertText('who="$1"\nsleep 0.1\necho "hello $who"\n');
  await page.getByLabel('who').fill('ann');
  await everywhere('the editor', () => editor.waitFor());

  await page.getByRole('tab', { name: 'Settings' }).click();
  const n = page.getByLabel('Max number of executions within the time window');
  await n.fill('0');
  await page.getByText('0 means neither off nor paused').waitFor();
  assert.ok(await page.getByRole('button', { name: 'Save', exact: true }).isDisabled());
  await n.fill('2');
  await page.getByLabel('Time window in seconds').fill('3600');
  await page.getByLabel('Custom concurrency key').fill('new/$workspace/$args[who]');
  await page.locator('[data-words]').getByText('At most 2 executions in any 1 h, each counted until 1 h after its end.').waitFor();
  assert.equal(await page.locator('[data-key]').textContent(), 'new/main/ann');
  await page.getByText('Of this key now: 0 running ones, 0 waiting runs.').waitFor();
  await everywhere('settings', () => n.waitFor());

  await page.getByRole('button', { name: 'Run the test' }).click();
  await page.getByText('Succeeded').waitFor();
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByText('Saved as version').waitFor();
  const saved = await server.api('GET', 'w/main/scripts/get/p/f/t/new');
  assert.deepEqual(
    [saved.concurrent_limit, saved.concurrency_time_window_s, saved.concurrency_key, Object.keys(saved.schema.properties)],
    [2, 3600, 'new/$workspace/$args[who]', ['who']],
  );

  await page.getByRole('tab', { name: 'Code' }).click();
  await retype('Code', 'who="$1"\nsleep 0.1\necho "good morning $who"\n');
  await page.getByLabel('Summary').fill('Greets');
  await page.getByRole('link', { name: '← Scripts' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Stay here' }).click();
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByRole('button', { name: 'Save', exact: true, disabled: true }).waitFor();
  await page.getByRole('tab', { name: 'Versions' }).click();
  await page.getByRole('button', { name: /^Changes of/ }).click();
  const diff = page.getByRole('region', { name: 'What changed' });
  await diff.getByText('echo "good morning $who"').waitFor();
  await diff.getByText('echo "hello $who"').waitFor();
  await row('summary').getByText('Greets').waitFor();
  await everywhere('versions of a script', () => diff.waitFor());

  await page.getByRole('link', { name: 'Run', exact: true }).click();
  assert.ok(await page.getByRole('button', { name: 'Run', exact: true }).isDisabled()); // what is required is missing
  await page.getByLabel('who').fill('ann');
  await everywhere('the form', () => page.getByLabel('who').waitFor());
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.getByText('Succeeded').waitFor(); // the test run took the other slot
  await page.getByRole('button', { name: 'Run again' }).click();
  await page.locator('[data-wait="limit"]').getByText('Slots taken: 2 / 2').waitFor();
  await page.getByRole('link', { name: 'new/main/ann' }).click();
  await page.getByText('3 loaded').waitFor();
});

test('shows schedules, workers and what a limit would give', async () => {
  await page.setViewportSize({ width: 390, height: 860 }); // where there is room for four pages and a button
  const more = page.getByRole('button', { name: 'More', exact: true });
  await more.click();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  await accessible('the pages behind a button', looks);
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Sign out' }).waitFor({ state: 'hidden' });
  await page.keyboard.press('Enter'); // the button has the focus again
  await page.getByRole('link', { name: 'Schedules' }).click();
  await heading('Schedules');
  await page.getByRole('button', { name: 'Sign out' }).waitFor({ state: 'hidden' });
  await page.getByRole('switch', { name: 'Turn f/demo/each_minute on' }).click();
  await page.getByRole('switch', { name: 'Turn f/demo/each_minute off' }).waitFor();
  assert.ok((await server.api('GET', 'w/main/schedules/get/f/demo/each_minute')).enabled);
  await everywhere('schedules', () => heading('Schedules'));
  const dialog = page.getByRole('dialog');
  await page.getByRole('button', { name: 'New schedule' }).click();
  await dialog.getByLabel('Path', { exact: true }).fill('f/t/mornings');
  await dialog.getByLabel('Path of the script or flow').fill('f/t/new');
  await dialog.getByLabel('who').fill('the morning'); // its own argument
  await dialog.getByLabel('When').fill('0 30 8 * * FUN');
  await dialog.getByText('"FUN" is no value').waitFor(); // what the server says of it
  assert.ok(await dialog.getByRole('button', { name: 'Save' }).isDisabled());
  await dialog.getByLabel('When').fill('0 30 8 * * MON-FRI');
  await dialog.getByLabel('Time zone').fill('Asia/Tokyo');
  await dialog.getByText('At 08:30 on Monday to Friday.').waitFor();
  await dialog.getByRole('listitem').filter({ hasText: '08:30' }).first().waitFor(); // in that zone
  await accessible('a schedule');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await row('f/t/mornings').getByText('At 08:30 on Monday to Friday.').waitFor();
  const made = await server.api('GET', 'w/main/schedules/get/f/t/mornings');
  assert.deepEqual([made.schedule, made.timezone, made.script_path, made.args, made.enabled], ['0 30 8 * * MON-FRI', 'Asia/Tokyo', 'f/t/new', { who: 'the morning' }, true]);
  await page.getByRole('button', { name: 'f/t/mornings', exact: true }).click();
  await dialog.getByLabel('Summary').fill('Greets');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await row('Greets').waitFor();
  await page.getByRole('button', { name: 'Delete f/t/mornings' }).click();
  await dialog.getByRole('button', { name: 'Delete it' }).click();
  await row('f/t/mornings').waitFor({ state: 'detached' });
  await page.getByRole('switch', { name: 'Turn f/demo/each_minute off' }).click();
  await page.getByRole('switch', { name: 'Turn f/demo/each_minute on' }).waitFor();
  assert.ok(!(await server.api('GET', 'w/main/schedules/get/f/demo/each_minute')).enabled);

  await open(page, 'workers');
  await page.getByText('of 4').waitFor();
  await everywhere('workers', () => heading('Workers'));

  await open(page, 'plan');
  await page.getByLabel('Executions at most').fill('5');
  await page.getByLabel('Jobs').fill('20');
  await page.getByText('20 jobs of 2s under at most 5 in any 1 min').waitFor();
  await everywhere('the planner', () => heading('What if'));
  await open(page, 'scripts');
  await everywhere('scripts', () => page.getByRole('link', { name: 'new', exact: true }).waitFor());
  await open(page, 'nothing');
  await page.getByText('There is no such page').waitFor();
  await open(page, 'runs?path=f%2Ft%2F');
  await row('f/t/new').first().waitFor();
});

const inline = (content, more = {}) => ({ type: 'rawscript', language: 'bash', content, input_transforms: {}, ...more });

test('shows a run of a flow on its graph, and what a step waits for', async () => {
  const ask = inline('echo ok', { concurrent_limit: 1, concurrency_time_window_s: 3600, custom_concurrency_key: 'flow/$workspace' });
  await server.api('POST', 'w/main/flows/create', {
    path: 'f/t/graph',
    value: {
      modules: [
        { id: 'a', summary: 'List', value: inline('echo "[1, 2, 3]" > result.json') },
        { id: 'b', value: { type: 'branchone', branches: [{ summary: 'never', expr: 'false', modules: [{ id: 'c', value: inline('echo no') }] }], default: [{ id: 'd', value: inline('echo yes') }] } },
        { id: 'e', value: { type: 'forloopflow', iterator: { type: 'javascript', expr: 'results.a' }, parallel: true, modules: [{ id: 'f', summary: 'Ask', value: ask }, { id: 'g', value: { type: 'identity' } }] } },
        { id: 'h', summary: 'Count', value: inline('echo done') },
      ],
    },
  });
  await open(page, `run/${await server.api('POST', 'w/main/jobs/run/f/f/t/graph', {})}`);
  const at = (id, state) => page.locator(`[data-step="${id}"][data-state="${state}"]`).waitFor();
  await Promise.all([at('a', 'success'), at('d', 'success'), at('e', 'running'), at('f', 'waiting'), at('h', 'scheduled')]);
  assert.equal(await page.locator('[data-step="c"]').getAttribute('data-state'), null); // its branch was not taken
  await page.locator('[data-step="f"]').getByText('1 per 1 h · flow/main').waitFor();
  const wait = page.locator('[data-step-run="f"] [data-wait="limit"]'); // it is shown beside the graph by itself
  await wait.getByText('At most 1 execution in any 1 h').waitFor();
  await everywhere('a run of a flow', () => wait.waitFor());
  await page.locator('[data-step="e"]').click();
  await page.getByText('1 of 3 done').first().waitFor();
  await page.getByRole('button', { name: 'e 1: Succeeded' }).click();
  await at('f', 'success'); // in that iteration
  await page.locator('[data-step="a"]').click();
  await page.locator('[data-step-run="a"]').getByText('Open the run').waitFor();
  await page.getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel', exact: true }).click();
  await page.getByText('Cancelled by admin').waitFor();
});

test('asks for an approval, and runs a flow again from one of its steps', async () => {
  await server.api('POST', 'w/main/flows/create', {
    path: 'f/t/asks',
    value: {
      modules: [
        { id: 'a', summary: 'Reckon', value: inline('echo "[1, 2, 3]" > result.json'), suspend: { required_events: 2, timeout: 3600, resume_form: { schema: { type: 'object', properties: { amount: { type: 'integer' } }, required: ['amount'] } } } },
        { id: 'b', value: { type: 'forloopflow', iterator: { type: 'javascript', expr: 'results.a' }, modules: [{ id: 'c', value: inline('item="$1"\necho "$item"\n[ "$item" != 2 ]', { input_transforms: { item: { type: 'javascript', expr: 'flow_input.iter.value' } } }) }] } },
      ],
    },
  });
  const id = await server.api('POST', 'w/main/jobs/run/f/f/t/asks', {});
  await open(page, `run/${id}`);
  const asks = page.locator('[data-approval="a"]');
  await asks.getByText('0 of 2 approvals are there.').waitFor();
  await asks.getByText('admin, who started the flow, and administrators').waitFor();
  assert.ok(await asks.getByRole('button', { name: 'Approve', exact: true }).isDisabled()); // the amount is missing
  await everywhere('a run that waits for approval', () => asks.waitFor());
  const dialog = page.getByRole('dialog');
  await asks.getByRole('button', { name: 'Have somebody else decide' }).click();
  await dialog.getByLabel('Who is to decide').fill('bob');
  await dialog.getByRole('button', { name: 'Make the links' }).click();
  const link = await dialog.getByRole('textbox', { name: 'Link to a page that asks' }).inputValue();
  await accessible('links to approve');
  await dialog.getByRole('button', { name: 'Close' }).click();
  const mine = page;
  const other = await browser.newContext({ viewport: { width: 1280, height: 860 } }); // of nobody who is signed in
  page = await other.newPage();
  await page.goto(link);
  await page.getByText('bob', { exact: true }).waitFor();
  await everywhere('the page to approve', () => page.getByRole('button', { name: 'Disapprove' }).waitFor());
  await page.getByLabel('amount').fill('30');
  await page.getByRole('button', { name: 'Approve', exact: true }).click();
  await page.getByText('You have approved').waitFor();
  await page.reload();
  await page.getByText('You have approved').waitFor(); // it counts once
  await page.goto(link.replace('approver=bob', 'approver=eve'));
  await page.reload();
  await page.getByText('The link is not one of this server').waitFor();
  await other.close();
  page = mine;
  await asks.getByText('Approved by bob.').waitFor(); // live
  await asks.getByLabel('amount').fill('40');
  await asks.getByRole('button', { name: 'Approve', exact: true }).click();
  await asks.waitFor({ state: 'detached' });
  await page.locator('[data-step="b"][data-state="failure"]').waitFor();

  await page.locator('[data-step="c"]').click();
  await page.getByRole('button', { name: 'Run again from b, in which this is' }).click();
  await dialog.getByText('The results of a are taken over. So is that of the first iteration. A new run begins with iteration 2 of b').waitFor();
  await accessible('the question before a flow is run again from a step');
  await dialog.getByRole('button', { name: 'Run again' }).click();
  await page.waitForFunction((was) => !location.hash.includes(was), id);
  await page.locator('[data-step="a"][data-state="success"]').waitFor(); // without another approval
  await page.getByRole('button', { name: 'b 1: Succeeded' }).or(page.locator('[data-step="b"][data-state="failure"]')).first().waitFor();

  await server.api('POST', 'w/main/flows/create', { path: 'f/t/outer', value: { modules: [{ id: 'x', value: { type: 'flow', path: 'f/t/asks', input_transforms: {} } }] } });
  const outer = await server.api('POST', 'w/main/jobs/run/f/f/t/outer', {});
  await open(page, `run/${outer}`);
  await page.locator('[data-step="x"][data-state="waiting"]').getByText('An approval is waited for within it').waitFor();
  await page.getByRole('link', { name: 'Open the run' }).click();
  await asks.waitFor();
  await server.api('POST', `w/main/jobs_u/queue/cancel/${outer}`, {});
  await asks.waitFor({ state: 'detached' });

  await open(page, `run/${await server.api('POST', 'w/main/jobs/run/f/f/t/asks', {})}`);
  await asks.getByRole('button', { name: 'Disapprove' }).click();
  await dialog.getByText('The flow fails here').waitFor();
  await dialog.getByRole('button', { name: 'Disapprove' }).click();
  await page.locator('[data-step="a"][data-state="failure"]').waitFor();
});

test('keeps variables and resources, and shows a secret to who asks for it', async () => {
  const dialog = page.getByRole('dialog');
  await open(page, 'values');
  await page.getByText('No variables yet').waitFor();
  await page.getByRole('button', { name: 'New variable' }).click();
  await dialog.getByLabel('Path').fill('f/t/key');
  await dialog.getByLabel('Value').fill('s3cret');
  await dialog.getByLabel('Secret').check();
  await accessible('a variable');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await row('f/t/key').getByText('secret', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'f/t/key', exact: true }).click();
  await dialog.getByText('Hidden', { exact: true }).waitFor();
  await dialog.getByLabel('Description').fill('of the payments API');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await row('of the payments API').waitFor();
  assert.equal(await server.api('GET', 'w/main/variables/get_value/f/t/key'), 's3cret'); // nobody typed another
  await page.getByRole('button', { name: 'f/t/key', exact: true }).click();
  await dialog.getByRole('button', { name: 'Show it' }).click();
  await page.waitForFunction(() => document.querySelector('dialog textarea')?.value === 's3cret');
  await dialog.getByRole('button', { name: 'Close' }).click();
  await everywhere('variables', () => row('f/t/key').waitFor());

  await page.getByRole('tab', { name: 'Resources' }).click();
  await page.getByRole('button', { name: 'New resource' }).click();
  await dialog.getByLabel('Path', { exact: true }).fill('f/t/db');
  await dialog.getByLabel('Type').fill('postgresql');
  await dialog.getByLabel('Value, as JSON').fill('{"host": ');
  await dialog.getByText('This is no JSON').waitFor();
  assert.ok(await dialog.getByRole('button', { name: 'Save' }).isDisabled());
  await dialog.getByLabel('Value, as JSON').fill('{"host": "db", "id": 12345678901234567890, "password": "$var:f/t/key"}');
  await accessible('a resource');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await row('f/t/db').getByText('postgresql').waitFor();
  const raw = await fetch(`${server.url}/api/w/main/resources/get_value/f/t/db`, { headers: { Authorization: `Bearer ${server.token}` } });
  assert.match(await raw.text(), /12345678901234567890/); // as it was typed
  await page.getByRole('button', { name: 'Delete f/t/db' }).click();
  await dialog.getByRole('button', { name: 'Delete it' }).click();
  await page.getByText('No resources yet').waitFor();
});

test('shows members and their roles, and makes tokens', async () => {
  const dialog = page.getByRole('dialog');
  await server.api('POST', 'users/create', { email: 'dev@example.com', password: 'writes scripts' });
  await page.keyboard.press('g');
  await page.keyboard.press(',');
  await heading('Settings');
  await page.getByRole('button', { name: 'Add a member' }).click();
  await dialog.getByLabel('E-mail').fill('dev@example.com');
  await dialog.getByLabel('Role').selectOption('operator');
  await dialog.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByLabel('Role of dev').selectOption('developer');
  await page.getByText('dev: Developer.').waitFor();
  const dev = async () => (await server.api('GET', 'w/main/users/list')).find((m) => m.username === 'dev');
  assert.equal((await dev()).operator, false);
  await page.getByRole('button', { name: 'Take dev out' }).click();
  await dialog.getByRole('button', { name: 'Take it out' }).click();
  await page.getByLabel('Role of dev').waitFor({ state: 'detached' });
  assert.equal(await dev(), undefined);

  await page.getByRole('button', { name: 'New token' }).click();
  await dialog.getByLabel('Label').fill('dashboard');
  await dialog.getByLabel('Only this').check();
  await dialog.getByLabel('See runs').check();
  await accessible('a token to be made');
  await dialog.getByRole('button', { name: 'Make the token' }).click();
  const token = await dialog.getByLabel('Token', { exact: true }).inputValue();
  const asked = async (route) => (await fetch(`${server.url}/api/w/main/${route}`, { headers: { Authorization: `Bearer ${token}` } })).status;
  assert.deepEqual([await asked('jobs/list'), await asked('scripts/list')], [200, 403]);
  await dialog.getByRole('button', { name: 'I have kept it' }).click();
  await row('dashboard').getByText('jobs:read').waitFor();
  assert.equal(await page.getByText(token).count(), 0);
  await everywhere('settings of the workspace', () => row('dashboard').waitFor());
  await page.getByRole('button', { name: 'Delete the token dashboard' }).click();
  await dialog.getByRole('button', { name: 'Delete it' }).click();
  await row('dashboard').waitFor({ state: 'detached' });
  assert.equal(await asked('jobs/list'), 401);
  await open(page, 'runs?path=f%2Ft%2F');
  await row('f/t/new').first().waitFor();
});

/** retype has the editor that is named hold a text, as somebody types it. */
async function retype(name, what, where = page) {
  await where.getByRole('textbox', { name, exact: true }).click();
  await page.keyboard.press('Control+a');
  await page.keyboard.press('Delete');
  await page.keyboard.insertText(what);
}

test('puts a flow together, gives a step a limit, tries it out, saves and runs it', async () => {
  await page.keyboard.press('g');
  await page.keyboard.press('f');
  await heading('Flows');
  await everywhere('flows', () => page.getByRole('link', { name: 'graph', exact: true }).waitFor());
  await page.getByRole('link', { name: 'New flow' }).click();
  await page.getByLabel('Path').fill('f/t/built');
  const add = async (place, kind) => {
    await page.locator(`[data-place="${place}"]`).click();
    await page.getByRole('dialog').getByRole('button', { name: kind }).click();
  };
  const panel = (id) => page.locator(`[data-panel="${id}"]`);
  await add(':0', 'Inline code');
  await retype('Code', 'echo "[1, 2]" > result.json');
  await add(':1', 'For each');
  await retype('For each element of', 'res', panel('b'));
  await page.getByRole('option', { name: 'results.a' }).waitFor(); // it is completed
  await page.keyboard.press('Enter');
  await page.locator('[data-step="b"]').getByText('results.a').waitFor();
  await add('b:0', 'Inline code');
  await retype('Code', 'item="$1"\necho "asked $item"');
  await panel('c').locator('[data-input="item"]').getByRole('combobox').selectOption('javascript');
  await retype('item', 'flow_input.iter.value', panel('c'));
  await everywhere('the settings of a step', () => panel('c').waitFor());

  await page.getByRole('tab', { name: 'Advanced' }).click();
  const n = page.getByLabel('Max number of executions within the time window');
  await n.fill('0');
  await page.getByText('0 means neither off nor paused').waitFor();
  const save = page.getByRole('button', { name: 'Save', exact: true });
  assert.ok(await save.isDisabled());
  await n.fill('1');
  await page.getByLabel('Time window in seconds').fill('3600');
  await page.getByLabel('Custom concurrency key').fill('built/$workspace');
  await page.locator('[data-words]').getByText('At most 1 execution in any 1 h').waitFor();
  await page.locator('[data-option="retry"]').getByRole('switch').check();
  await page.getByLabel('Attempts', { exact: true }).fill('3');
  await everywhere('advanced settings of a step', () => n.waitFor());

  await page.getByRole('tab', { name: 'Test', exact: true }).click();
  await page.getByRole('button', { name: 'Test the flow up to here' }).click();
  await page.locator('[data-step="a"][data-state="success"]').waitFor();
  await page.locator('[data-step-run="c"] [data-wait="limit"]').getByText('Slots taken: 1 / 1').waitFor();

  await add(':2', 'Script Runs'); // which says what it lacks
  await save.click();
  await panel('d').getByRole('alert').getByText('must name what to run').waitFor();
  await page.getByRole('button', { name: 'Remove the step d' }).click();
  await save.click();
  await page.getByText('f/t/built is saved').waitFor();
  const { value } = await server.api('GET', 'w/main/flows/get/f/t/built');
  assert.deepEqual(value.modules[1].value.modules[0], {
    id: 'c',
    value: {
      type: 'rawscript', language: 'bash', content: 'item="$1"\necho "asked $item"', input_transforms: { item: { type: 'javascript', expr: 'flow_input.iter.value' } },
      concurrent_limit: 1, concurrency_time_window_s: 3600, custom_concurrency_key: 'built/$workspace',
    },
    retry: { constant: { attempts: 3, seconds: 5 } },
  });
  await page.getByRole('link', { name: 'Run', exact: true }).click();
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.locator('[data-step="c"][data-state="waiting"]').getByText('1 per 1 h · built/main').waitFor(); // the test took the slot
  await page.locator('[data-step-run="c"] [data-wait="limit"]').getByText('built/main').first().waitFor();
});

test('keeps of a flow what it does not know, and asks before it is lost', async () => {
  const flow = {
    path: 'f/t/kept', summary: 'as it was', labels: ['x'], description: 'long',
    schema: { type: 'object', properties: { who: { type: 'string', format: 'email', 'x-own': 1 } }, order: ['who'], required: [] },
    value: {
      modules: [{ id: 'a', value: { type: 'rawscript', language: 'bash', content: 'echo 1', input_transforms: {}, assets: [{ path: 'u/x' }], max_wait_s: 60, concurrent_limit: 2 }, 'x-own': { deep: [1] } }, { id: 'b', value: { type: 'branchone', branches: [] } }],
      notes: [{ text: 'kept' }], flow_env: { A: 'b' },
    },
  };
  await server.api('POST', 'w/main/flows/create', flow);
  await open(page, 'flow/f%2Ft%2Fkept?step=a');
  const panel = page.locator('[data-panel="a"]');
  await panel.getByLabel('Id').fill('first');
  await page.keyboard.press('Tab');
  await page.locator('[data-step="first"]').waitFor();
  await page.getByRole('link', { name: '← Flows' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Stay here' }).click();
  await page.getByRole('tab', { name: 'Advanced' }).click();
  const suspend = page.locator('[data-option="suspend"]');
  await suspend.getByRole('switch').check();
  await suspend.getByLabel('Name of a new argument').fill('amount');
  await page.keyboard.press('Enter');
  await suspend.getByLabel('Type amount').selectOption('integer');
  await suspend.getByLabel('Required amount').check();
  await everywhere('the form of an approval', () => suspend.waitFor());
  await page.getByRole('tab', { name: 'Settings' }).click();
  await page.getByLabel('Max number of executions within the time window').fill('4');
  await page.getByLabel('Name of a new argument').fill('count');
  await page.keyboard.press('Enter');
  await page.getByLabel('Type count').selectOption('integer');
  await everywhere('settings of a flow', () => heading('Concurrency limits'));
  await page.getByRole('tab', { name: 'As JSON' }).click();
  await page.getByRole('textbox', { name: 'Code' }).getByText('"first"').waitFor();
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  await page.getByText('f/t/kept is saved').waitFor();
  const got = await server.api('GET', 'w/main/flows/get/f/t/kept');
  flow.value.modules[0].id = 'first';
  flow.value.concurrent_limit = 4;
  flow.value.modules[0].suspend = { required_events: 1, timeout: 86400, resume_form: { schema: { type: 'object', properties: { amount: { type: 'integer' } }, required: ['amount'], order: ['amount'] } } };
  flow.schema.properties.count = { type: 'integer' };
  flow.schema.order.push('count');
  assert.deepEqual([got.value, got.schema, got.labels, got.description], [flow.value, flow.schema, flow.labels, flow.description]);
  await page.getByRole('tab', { name: 'Versions' }).click();
  await page.getByRole('button', { name: /^Changes of/ }).click();
  const diff = page.getByRole('region', { name: 'What changed' });
  await diff.locator('tr.in').getByText('concurrent_limit: 4').waitFor();
  await diff.locator('tr.out').getByText('id: a').waitFor();
  await everywhere('versions of a flow', () => diff.waitFor());
});

test('survives a restart of the server and the end of a session', async () => {
  await open(page, 'runs?path=f%2Ft%2F');
  await row('f/t/new').first().waitFor();
  await server.stop();
  await page.getByText('Connection lost').waitFor();
  await server.start();
  await page.locator('[data-live="live"]').waitFor();
  await server.run('f/t/new', { who: 'after the restart' });
  await page.getByLabel('Limit key').fill('new/main/after the restart');
  await page.keyboard.press('Enter');
  await page.getByText('1 loaded').waitFor();
  await row('f/t/new').getByText('Succeeded').waitFor();
  await page.getByRole('button', { name: 'Clear', exact: true }).click();

  await page.context().clearCookies();
  await page.getByPlaceholder('Path begins with').fill('f/t/slow');
  await page.getByRole('dialog').getByText('Your session has ended').waitFor();
  await accessible('the end of a session');
  await page.getByLabel('Password').fill(server.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('32 loaded').waitFor(); // what was asked goes on
  assert.equal(await page.getByPlaceholder('Path begins with').inputValue(), 'f/t/slow');
});

test('signs out', async () => {
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
});

test('offers an operator what it may do', async () => {
  const who = { email: 'ops@example.com', password: 'only looks on' };
  await server.api('POST', 'users/create', who);
  await server.api('POST', 'w/main/workspaces/add_user', { email: who.email, operator: true });
  await server.api('POST', 'w/main/folders/create', { name: 't', owners: [], extra_perms: { 'g/all': true } });
  await signIn(page, server, who);
  const gone = async (name, role = 'button') => assert.equal(await page.getByRole(role, { name, exact: true }).count(), 0, `an operator is offered ${name}`);
  await open(page, 'scripts');
  await heading('Scripts');
  await page.getByRole('link', { name: 'new', exact: true }).waitFor();
  await gone('New script', 'link');
  await open(page, 'script/f%2Ft%2Fnew');
  await page.getByRole('textbox', { name: 'Code' }).waitFor();
  await page.getByRole('link', { name: 'Run', exact: true }).waitFor();
  await gone('Save');
  await gone('Run the test');
  await open(page, 'flow/f%2Ft%2Fkept?step=first');
  await page.locator('[data-panel="first"]').waitFor();
  for (const name of ['Save', 'Test the flow', 'Move', 'Add a branch']) await gone(name);
  assert.equal(await page.locator('[data-place]').count(), 0);
  const other = await server.run('f/t/slow', { who: 'operator' });
  await open(page, `run/${other}`);
  await page.getByRole('heading', { name: 'f/t/slow' }).waitFor();
  await page.getByRole('button', { name: 'Run again' }).waitFor();
  await gone('Cancel');
  await page.getByRole('button', { name: 'Run again' }).click();
  await page.getByRole('button', { name: 'Cancel', exact: true }).waitFor(); // of its own
  await open(page, 'schedules');
  assert.ok(await page.getByRole('switch').first().isDisabled());
});
