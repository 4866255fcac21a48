// Measures the page of runs: how soon it can be used with many rows in the
// database, and how long its main thread is held up while events arrive.
//   npm --prefix ui run measure [-- ROWS EVENTS_PER_SECOND SECONDS]
import { launch, open, Server, signIn } from './world.mjs';

const [rows = 100_000, rate = 500, seconds = 20] = process.argv.slice(2).map(Number);
const server = new Server();
await server.start();
const browser = await launch();

/** inParallel does something so often, so many at a time, and returns what came. */
async function inParallel(n, most, does) {
  const out = [];
  let next = 0;
  const one = async () => {
    while (next < n) {
      const i = next++;
      out[i] = await does(i);
    }
  };
  await Promise.all(Array.from({ length: most }, one));
  return out;
}

const push = (i) => server.run('f/m/job', { i }, '?tag=nobody'); // no worker serves it: what is measured is the page

/** watch notes in a page, from its first moment on, what holds its main thread up and when rows are there. */
function watch() {
  const seen = { tasks: [], rows: 0, frames: [] };
  globalThis.seen = seen;
  new PerformanceObserver((list) => {
    for (const t of list.getEntries()) seen.tasks.push([t.startTime, t.duration]);
  }).observe({ type: 'longtask', buffered: true });
  const look = () => {
    if (seen.rows === 0 && document.querySelector('[data-index="10"]')) seen.rows = performance.now();
    seen.frames.push(performance.now());
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

function sum(what, seen, since) {
  const tasks = seen.tasks.filter(([at, took]) => at + took > since).map(([, took]) => took);
  const frames = seen.frames.filter((at) => at > since);
  const gaps = frames.slice(1).map((at, i) => at - frames[i]).sort((a, b) => a - b);
  const at = (q) => (gaps[Math.floor(gaps.length * q)] ?? 0).toFixed(0);
  console.log(`${what}: ${tasks.length} tasks over 50 ms, the longest ${Math.max(0, ...tasks).toFixed(0)} ms; between frames: half ${at(0.5)} ms, 99% ${at(0.99)} ms, at most ${at(0.9999)} ms`);
}

/** underLoad pushes jobs at the rate while the page looks on. */
async function underLoad(page, what) {
  const since = await page.evaluate(() => performance.now());
  const from = Date.now();
  let pushed = 0;
  const going = new Set();
  while (Date.now() - from < seconds * 1000) {
    for (const due = ((Date.now() - from) / 1000) * rate; pushed < due && going.size < 256; pushed++) {
      const p = push(pushed).finally(() => going.delete(p));
      going.add(p);
    }
    await new Promise((r) => setTimeout(r, 10));
  }
  await Promise.all(going);
  sum(`${what}, ${Math.round(pushed / ((Date.now() - from) / 1000))} events/s for ${seconds} s`, await page.evaluate(() => globalThis.seen), since);
}

const loaded = (page) => page.evaluate(() => Number(/([\d,.]+) loaded/.exec(document.body.innerText)?.[1].replace(/\D/g, '') ?? 0));

try {
  await server.script({ path: 'f/m/job', content: 'true' });
  console.time(`${rows} jobs pushed`);
  const ids = await inParallel(rows, 64, push);
  await inParallel(Math.ceil(rows / 2 / 1000), 1, (i) => server.api('POST', 'w/main/jobs/queue/cancel_selection', ids.slice(i * 1000, (i + 1) * 1000)));
  console.timeEnd(`${rows} jobs pushed`);

  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, locale: 'en-GB' });
  const first = await context.newPage();
  await signIn(first, server);
  await first.close();
  const times = [];
  for (let i = 0; i < 5; i++) {
    const page = await context.newPage();
    await page.addInitScript(watch);
    await page.goto(server.url + '/#/main/runs');
    await page.waitForFunction(() => globalThis.seen.rows > 0);
    await page.waitForTimeout(500);
    // Usable once rows are there and no long task that began before is under way.
    times.push(await page.evaluate(() => globalThis.seen.tasks.reduce((t, [at, took]) => (at < t && at + took > t ? at + took : t), globalThis.seen.rows)));
    if (i < 4) await page.close();
    else {
      console.log(`usable after ${times.map((t) => t.toFixed(0)).join(', ')} ms`);
      await underLoad(page, 'first rows listed');
      const since = await page.evaluate(() => performance.now());
      for (let n = 0; n < Math.min(rows, 99_000); n = await loaded(page)) {
        await page.evaluate(() => { const body = document.querySelector('[role="table"] .body'); body.scrollTop = body.scrollHeight; });
        await page.waitForFunction((was) => Number(/([\d,.]+) loaded/.exec(document.body.innerText)?.[1].replace(/\D/g, '') ?? 0) > was, n, { polling: 20, timeout: 60_000 });
      }
      sum(`scrolled to the end of ${await loaded(page)}`, await page.evaluate(() => globalThis.seen), since);
      await underLoad(page, 'all of them listed, at their end');
      await page.evaluate(() => (document.querySelector('[role="table"] .body').scrollTop = 0));
      await underLoad(page, 'all of them listed, at their beginning');
      await open(page, 'runs?chart=concurrency');
      await underLoad(page, 'the same, concurrency drawn');
    }
  }
} finally {
  await browser.close();
  await server.remove();
}
