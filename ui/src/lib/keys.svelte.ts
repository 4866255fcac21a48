// Shortcuts. What has the focus comes first: nothing is taken from a field.
import { router } from './router.svelte';

const goTo: Record<string, string> = { r: 'runs', l: 'limits', s: 'scripts', f: 'flows', w: 'workers', c: 'schedules', p: 'plan', v: 'values', ',': 'settings' };

class Keys {
  help = $state(false);
  /** What a page does at p; undefined where there is nothing to pause. */
  pause: (() => void) | undefined;

  #after = '';
  #at = 0;

  handle = (e: KeyboardEvent): void => {
    const t = e.composedPath()[0] as HTMLElement; // the editor stands in a shadow root
    if (e.ctrlKey || e.metaKey || e.altKey || t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName) || document.querySelector('dialog[open]')) return;
    const chord = this.#after === 'g' && e.timeStamp - this.#at < 1500;
    this.#after = e.key;
    this.#at = e.timeStamp;
    const page = goTo[e.key];
    if (chord && page) {
      e.preventDefault();
      router.go(page);
      return;
    }
    switch (e.key) {
      case '/': {
        const field = document.querySelector<HTMLInputElement>('[data-search]');
        if (field) {
          e.preventDefault();
          field.focus();
          field.select();
        }
        break;
      }
      case '?':
        this.help = true;
        break;
      case 'p':
        this.pause?.();
        break;
    }
  };
}

export const keys = new Keys();
