// Draws the pages in light and dark into docs/screenshots.
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { launch, open, Server, signIn } from './world.mjs';
import { furnish } from './scene.mjs';

const out = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../docs/screenshots');
mkdirSync(out, { recursive: true });

const server = new Server();
await server.start();
const browser = await launch();
try {
  const places = await furnish(server);
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  page.setDefaultTimeout(60_000);
  await signIn(page, server);
  for (const { name, where, ready } of places) {
    await open(page, where);
    await ready(page);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.mouse.move(0, 0);
      await page.waitForTimeout(700); // charts follow the scheme in the next frame, clocks tick on
      await page.screenshot({ path: path.join(out, `${name}-${colorScheme}.png`) });
    }
    await page.emulateMedia({ colorScheme: 'light' });
  }
} finally {
  await browser.close();
  await server.remove();
}
