// Parts of the page alone, in a real browser and on a clock that stands still:
// the chart of runs, the row of slots, what a key becomes, schedules in words,
// Markdown, and what differs between two texts.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { launch } from './world.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const now = Date.parse('2030-01-01T12:00:00Z');
const ago = (s) => new Date(now - s * 1000).toISOString();
let browser;
let files;

before(async () => {
  const made = build({
    root: path.join(here, '..'),
    logLevel: 'warn',
    publicDir: false,
    build: { write: false, minify: false, rollupOptions: { input: path.join(here, 'mount.svelte.ts'), output: { codeSplitting: false, entryFileNames: 'parts.js', assetFileNames: '[name][extname]' } } },
  });
  [browser, { output: files }] = await Promise.all([launch(), made]);
});
after(() => browser?.close());

/** show puts a part on a page of its own. */
async function show(name, props) {
  const page = await browser.newPage({ viewport: { width: 800, height: 700 }, colorScheme: 'light', timezoneId: 'UTC', locale: 'en-GB' });
  page.setDefaultTimeout(20_000);
  await page.clock.install({ time: now - 60_000 }); // it runs until it is paused, and cannot be set back
  await page.clock.pauseAt(now + 1); // it stands still but where a test moves it
  await page.route('**/*', (route) => {
    const at = new URL(route.request().url()).pathname.slice(1);
    const file = files.find((f) => f.fileName === at);
    if (at === '') return route.fulfill({ contentType: 'text/html', body: '<!doctype html><link rel="stylesheet" href="mount.css"><script type="module" src="parts.js"></script>' });
    return file ? route.fulfill({ contentType: at.endsWith('js') ? 'text/javascript' : 'text/css', body: file.code ?? Buffer.from(file.source) }) : route.fulfill({ status: 404 });
  });
  await page.goto('http://parts.test/#/main/runs');
  await page.evaluate(([n, p]) => globalThis.parts.show(n, p), [name, props]);
  return page;
}

const job = (id, start, end, more = {}) => ({
  id, type: end === undefined ? 'QueuedJob' : 'CompletedJob', job_kind: 'script', script_path: 'f/t/x', created_at: ago(60), scheduled_for: ago(60),
  ...(start === undefined ? {} : { started_at: ago(start), running: true }),
  ...(end === undefined ? {} : { completed_at: ago(end), duration_ms: (start - end) * 1000, success: true, status: 'success' }), ...more,
});

async function drawing(page) {
  await page.clock.runFor(1000);
  const all = await page.evaluate(() => globalThis.parts.drawn);
  const colour = (name) => page.evaluate((n) => {
    const g = document.createElement('canvas').getContext('2d');
    g.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--' + n);
    return g.fillStyle;
  }, name);
  return { all, label: (text) => all.find((d) => d.text === text), of: async (name) => { const c = await colour(name); return all.filter((d) => d.colour === c); } };
}

test('a chart of concurrency shows how many ran at once, how many waited, and the limit where it is', async () => {
  const jobs = [job('c', undefined, undefined), job('b', 20), job('a', 50, 10)];
  const page = await show('RunChart', { jobs, mode: 'concurrency', limit: 3, obscured: [{ started_at: ago(15), duration_ms: 10_000 }] });
  const d = await drawing(page);
  const line = (await d.of('failure')).find((s) => s.points);
  assert.equal(line.points[0][1], line.points[1][1], 'the limit is a level line');
  assert.ok(Math.abs(line.points[0][1] - d.label('3').y) < 1, 'it stands where the axis says 3');
  assert.ok(d.label('limit 3'));
  const ran = (await d.of('running')).findLast((s) => s.points).points.map((p) => p[1]);
  const height = (n) => d.label('0').y - (n / 3) * (d.label('0').y - d.label('3').y);
  assert.ok(Math.abs(Math.min(...ran) - height(3)) < 1, 'at the most three ran: two of ours and one of others');
  assert.ok(Math.abs(ran.at(-1) - height(1)) < 1, 'and one runs now');
  assert.ok((await d.of('waiting-fill')).some((s) => s.points), 'those that waited are drawn below');
  const one = await (async () => { const p = await show('RunChart', { jobs: [job('b', 20)], mode: 'concurrency' }); const x = await drawing(p); await p.close(); return x; })();
  assert.ok(!one.all.some((s) => s.text?.startsWith('limit')), 'no limit, no line');
  await page.close();
});

test('a spark line ends now and leaves out what is not known', async () => {
  const page = await show('Spark', { used: [0, 1, 2], n: 4, parts: 6 });
  const said = 'In use in the last hour: 2 lately, 2 at most, of 4';
  const box = await page.getByRole('img', { name: said }).boundingBox();
  const line = await page.locator('.line').boundingBox();
  assert.ok(Math.abs(line.x + line.width - box.x - box.width) < 2 && Math.abs(line.width / box.width - 0.5) < 0.05, 'three parts of six, the newest at the right edge');
  const limit = await page.locator('.limit').boundingBox();
  assert.ok(Math.abs((line.y - limit.y) / (line.y + line.height - limit.y) - 0.5) < 0.1, 'two of four: half way up to the limit');
  await page.close();
});

test('a chart of durations has a mark for each run, on a scale of powers of ten, and tells of a dragged time', async () => {
  const jobs = [job('r', 5), job('f', 22, 21, { success: false, status: 'failure' }), job('b', 40, 30), job('a', 50, 49)];
  const page = await show('RunChart', { jobs, mode: 'duration' });
  const d = await drawing(page);
  const marks = (await d.of('success')).filter((s) => s.points && s.round);
  assert.equal(marks.length, 2);
  const [short, long] = marks.map((m) => m.points[0]);
  assert.ok(Math.abs(short[1] - d.label('1 s').y) < 1 && Math.abs(long[1] - d.label('10 s').y) < 1, 'marks stand where the axis says how long they took');
  const y = (label) => d.label(label).y;
  assert.ok(Math.abs((y('10 s') - y('1 s')) / (y('1 min') - y('1 s')) - Math.log(10) / Math.log(60)) < 0.02, 'each power of ten is as high');
  assert.ok(short[0] < long[0], 'later is further right');
  assert.ok((await d.of('failure')).some((s) => s.points?.length === 4 && !s.round), 'a failure is a cross: it is not told by its colour alone');
  assert.equal((await d.of('running')).filter((s) => s.round).length, 1);
  const box = await page.locator('canvas').boundingBox();
  await page.mouse.move(box.x + short[0] - 8, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + long[0] + 8, box.y + 60);
  await page.mouse.up();
  const [[from, to]] = await page.evaluate(() => globalThis.parts.said);
  assert.ok(from < now - 50_000 && from > now - 55_000 && to > now - 40_000 && to < now - 22_000, `${(from - now) / 1000} s to ${(to - now) / 1000} s`);
  await page.close();
});

test('the row of slots says who holds each, when it frees, and what is free, and ticks', async () => {
  const page = await show('WaitCard', {
    wait: {
      reason: 'limit', message: 'full', key: 'api/a', slots_total: 3,
      limit: { concurrent_limit: 5, concurrency_time_window_s: 60, concurrency_window_from: 'end', source: 'override' },
      slots: [
        { job_id: '0190-aaaa-11111111', since: ago(100), released_at: ago(45), frees_at: new Date(now + 15_000).toISOString() },
        { job_id: '0190-bbbb-22222222', since: ago(30) },
        { obscured: true, since: ago(5) },
      ],
      position: { n: 7, exact: false }, not_before: new Date(now + 15_000).toISOString(),
    },
  });
  const slots = page.locator('.slot');
  assert.equal(await slots.count(), 5, 'a box for each slot of the limit');
  const said = async () => (await slots.allInnerTexts()).map((t) => t.replace(/\s+/g, ' ').trim());
  assert.deepEqual(await said(), ['still counts 11111111 frees in 15 s', 'running 22222222 for 30 s, + 1 min', 'running for 5 s, + 1 min', 'free', 'free']);
  assert.equal(await slots.nth(0).getByRole('link').getAttribute('href'), '#/main/run/0190-aaaa-11111111');
  assert.equal(await slots.nth(2).getByRole('link').count(), 0, 'what is obscured leads nowhere');
  const filled = () => slots.nth(0).locator('.fill').evaluate((e) => parseFloat(e.style.width));
  assert.ok(Math.abs((await filled()) - 75) < 0.1, 'three quarters of the window have passed');
  assert.match(await page.locator('[data-fact="not-before"]').innerText(), /in 15 s/);
  assert.match(await page.locator('[data-fact="position"]').innerText(), /^7 or later/);
  await page.getByText('3 / 5').waitFor();
  await page.getByText('set by an administrator').waitFor();
  await page.clock.runFor(6000);
  assert.match((await said())[0], /frees in 9 s/);
  assert.ok(Math.abs((await filled()) - 85) < 0.5);
  await page.clock.runFor(10_000);
  assert.match((await said())[0], /frees now/);
  await page.close();
});

test('a key is shown as it becomes with the arguments, and a limit in words, as they are typed', async () => {
  const page = await show('LimitInputs', {
    form: { n: '5', w: '60', key: '', from: 'end', onLimit: 'queue' }, workspace: 'main', fallback: 'main/script/f/t/x',
    args: { who: 'ann', order: { id: 7, lines: [1, 'two'] }, trick: '$workspace' },
  });
  const key = page.locator('[data-key]');
  const words = page.locator('[data-words]');
  assert.equal(await key.innerText(), 'main/script/f/t/x', 'without a template, the path');
  const template = page.getByLabel(/key/i).first();
  for (const [typed, becomes] of [
    ['api/$workspace/$args[who]', 'api/main/ann'],
    ['$args[order.id]-$args[order.lines]', '7-[1,"two"]'],
    ['a$args[nobody]b', 'ab'],
    ['$args[trick]', '$workspace'], // what an argument brings is not looked at again
  ]) {
    await template.fill(typed);
    assert.equal(await key.innerText(), becomes, typed);
  }
  assert.match(await words.innerText(), /At most 5 executions in any 1 min, each counted until 1 min after its end/);
  await page.getByLabel(/^Time window/).fill('x');
  await page.locator('.error-text').waitFor();
  assert.equal(await words.count(), 0, 'what is wrong is not said in words');
  assert.equal(await page.getByLabel(/^Time window/).getAttribute('aria-invalid'), 'true');
  await page.close();
});

test('Markdown becomes elements, and nothing in it is HTML, fetched, or a link to a script', async () => {
  const source = ['# Title', '', 'a **b** `c` [d](https://example.com) [e](javascript:alert(1)) ![f](https://example.com/f.png)', '<img src=x onerror=alert(1)>', '', '1. one', '2. two', '   - in two', '', '> said', '', '```', '<b>&amp;</b>', '```', '', '| x | y |', '|---|---|', '| 1 | 2 \\| 3 |'].join('\n');
  const page = await show('Markdown', { source });
  await page.getByRole('heading', { name: 'Title' }).waitFor();
  assert.deepEqual(await page.locator('a').evaluateAll((all) => all.map((a) => [a.textContent, a.getAttribute('href'), a.rel])), [['d', 'https://example.com', 'noopener noreferrer'], ['f', 'https://example.com/f.png', 'noopener noreferrer']]);
  assert.equal(await page.locator('img, .text script, .text b').count(), 0);
  await page.getByText('<img src=x onerror=alert(1)>').waitFor();
  assert.equal(await page.locator('pre').textContent(), '<b>&amp;</b>');
  assert.equal(await page.locator('ol > li:nth-child(2) > ul > li').textContent(), 'in two');
  assert.deepEqual(await page.locator('td').allTextContents(), ['1', '2 | 3']);
  assert.equal(await page.locator('blockquote').textContent(), 'said');
  await page.close();
});

test('schedules are said in words, and what has no words is not said', async () => {
  const page = await show('Markdown', { source: '' });
  const said = (list) => page.evaluate((l) => l.map(([e, v]) => globalThis.parts.pure.cronWords(e, v)), list);
  const table = [
    ['* * * * *', 'Every minute.'],
    ['0 */15 * * * *', 'Every 15 minutes.'],
    ['*/10 * * * * *', 'Every 10 seconds.'],
    ['0 30 8 * * *', 'Every day at 08:30.'],
    ['@hourly', 'Every hour on the hour.'],
    ['0 */15 9-17 * * MON-FRI', 'Every 15 minutes from 09:00 to 17:45 on Monday to Friday.'],
    ['0 0 9-17 * * *', 'Every hour on the hour from 09:00 to 17:00.'],
    ['0 0 8 * * 0,6', 'At 08:00 on Sunday and Saturday.'],
    ['0 0 8 ? * FRI#2', 'At 08:00 on the second Friday of the month.'],
    ['0 0 8 ? * FRIL', 'At 08:00 on the last Friday of the month.'],
    ['0 0 0 13 * FRI', 'At 00:00 on the 13th of the month if it is Friday.'], // both must hold
    ['0 0 0 L 2 *', 'At 00:00 on the last day of the month in February.'],
    ['0 0 0 1,22 * *', 'At 00:00 on the 1st and 22nd of the month.'],
    ['0 7/5 * * * *', ''],
    ['0 */7 * * * *', ''], // not every seven minutes: the hour ends
    ['nothing', ''],
  ];
  assert.deepEqual(await said(table.map(([e]) => [e])), table.map(([, words]) => words));
  assert.deepEqual(await said([['0 0 8 * * 2', 'v1'], ['0 0 8 * * 2', 'v2'], ['0 0 8 * * 7', 'v2']]), ['At 08:00 on Monday.', 'At 08:00 on Tuesday.', 'At 08:00 on Sunday.']);
  await page.close();
});

test('a difference names the lines as they stand in both texts', async () => {
  const page = await show('Markdown', { source: '' });
  const wrong = await page.evaluate(() => {
    const { read, unified, outline } = globalThis.parts.pure;
    let seed = 7;
    const next = (n) => (seed = (seed * 48271) % 2147483647) % n;
    const bad = [];
    for (let round = 0; round < 300; round++) {
      const a = Array.from({ length: next(30) + 1 }, () => `l${next(6)}`);
      const b = a.flatMap((l) => (next(8) === 0 ? [] : next(8) === 0 ? [l, `n${next(6)}`] : [l]));
      if (b.length === 0) continue;
      const [x, y] = [a.join('\n'), b.join('\n')];
      if (x === y) continue;
      const lines = read(unified(x, y));
      const inn = lines.filter((l) => l.kind === 'in').length;
      const out = lines.filter((l) => l.kind === 'out').length;
      const ok = lines.every((l) => (l.a === undefined || a[l.a - 1] === l.text) && (l.b === undefined || b[l.b - 1] === l.text)) && a.length - out + inn === b.length;
      // What is left out is the same, and so is what the numbers skip.
      const shown = new Set(lines.map((l) => l.a));
      const skipped = a.filter((_, i) => !shown.has(i + 1)).length;
      const told = lines.reduce((n, l) => n + (l.left ?? 0), 0);
      if (!ok || told > skipped) bad.push([x, y]);
    }
    const value = { id: 'a', code: 'one\ntwo\n', list: [{ x: 1 }, 'yes', ''], none: {}, no: null, t: 'true' };
    return { bad, outline: outline(value), same: unified('a', 'a'), server: read('--- f@1\n+++ f@2\n@@ -2,1 +2,0 @@\n--- a\n') };
  });
  assert.deepEqual(wrong.bad, []);
  assert.equal(wrong.same, '');
  assert.deepEqual(wrong.outline, ['id: a', 'code: |', '  one', '  two', 'list:', '  - x: 1', '  - yes', '  - ""', 'none: {}', 'no: null', 't: "true"']);
  assert.deepEqual(wrong.server, [{ kind: 'out', text: '-- a', a: 2, left: 1 }]); // a line that looks like a head
  await page.close();
});
