// Puts one part of the page on an empty one, for parts.test.mjs.
import { mount, type Component } from 'svelte';
import '../src/app.css';
import { outline, read, unified } from '../src/lib/diff';
import { cronWords } from '../src/lib/cronwords';
import LimitInputs from '../src/parts/LimitInputs.svelte';
import Markdown from '../src/parts/Markdown.svelte';
import RunChart from '../src/parts/RunChart.svelte';
import Spark from '../src/parts/Spark.svelte';
import WaitCard from '../src/parts/WaitCard.svelte';

const parts = { LimitInputs, Markdown, RunChart, Spark, WaitCard } as unknown as Record<string, Component<Record<string, unknown>>>;

/** What was drawn on canvases: texts, and what was stroked in which colour. */
const drawn: { text?: string; x?: number; y?: number; colour: string; points?: [number, number][]; round?: boolean }[] = [];
/** What parts said of the mouse. */
const said: unknown[] = [];

function watchCanvas() {
  const g = CanvasRenderingContext2D.prototype;
  let points: [number, number][] = [];
  let round = false;
  const around = <K extends 'beginPath' | 'moveTo' | 'lineTo' | 'arc' | 'fillText' | 'clearRect' | 'stroke' | 'fill'>(name: K, before: (this: CanvasRenderingContext2D, ...a: unknown[]) => void) => {
    const real = g[name] as (...a: unknown[]) => void;
    (g as unknown as Record<string, unknown>)[name] = function (this: CanvasRenderingContext2D, ...a: unknown[]) {
      before.apply(this, a);
      real.apply(this, a);
    };
  };
  around('clearRect', () => (drawn.length = 0));
  around('beginPath', () => ((points = []), (round = false)));
  around('moveTo', (x, y) => points.push([x as number, y as number]));
  around('lineTo', (x, y) => points.push([x as number, y as number]));
  around('arc', (x, y) => (points.push([x as number, y as number]), (round = true)));
  around('stroke', function () {
    drawn.push({ colour: String(this.strokeStyle), points, round });
  });
  around('fill', function () {
    drawn.push({ colour: String(this.fillStyle), points, round });
  });
  around('fillText', function (text, x, y) {
    drawn.push({ text: text as string, x: x as number, y: y as number, colour: String(this.fillStyle) });
  });
}
watchCanvas();

Object.assign(globalThis, {
  parts: {
    drawn,
    said,
    pure: { cronWords, outline, read, unified },
    show(name: string, given: Record<string, unknown>) {
      const props = $state({ ...given, onbrush: (from: number, to: number) => said.push([from, to]) });
      mount(parts[name]!, { target: document.body, props });
    },
  },
});
