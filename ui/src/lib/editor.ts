// The editor, which is loaded when somebody edits. It lives in a shadow root:
// there its styles are adopted sheets, which the page's policy allows.
import { autocompletion, type Completion, type CompletionContext, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { go } from '@codemirror/lang-go';
import { javascript } from '@codemirror/lang-javascript';
import { python } from '@codemirror/lang-python';
import { PostgreSQL, sql } from '@codemirror/lang-sql';
import { bracketMatching, HighlightStyle, indentOnInput, StreamLanguage, syntaxHighlighting } from '@codemirror/language';
import { shell } from '@codemirror/legacy-modes/mode/shell';
import { Compartment, EditorState, type Extension } from '@codemirror/state';
import { drawSelection, EditorView, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers } from '@codemirror/view';
import { tags as t } from '@lezer/highlight';

const colours = HighlightStyle.define([
  { tag: [t.keyword, t.controlKeyword, t.moduleKeyword], color: 'var(--scheduled)' },
  { tag: [t.string, t.special(t.string)], color: 'var(--success)' },
  { tag: [t.number, t.bool, t.null], color: 'var(--running)' },
  { tag: t.comment, color: 'var(--soft)', fontStyle: 'italic' },
  { tag: [t.function(t.variableName), t.definition(t.variableName)], color: 'var(--accent)' },
  { tag: [t.typeName, t.className], color: 'var(--waiting)' },
]);

const look = EditorView.theme({
  '&': { height: '100%', fontSize: '13px', color: 'var(--ink)', backgroundColor: 'var(--card)' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55' },
  '.cm-gutters': { backgroundColor: 'var(--card)', color: 'var(--soft)', border: '0' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'var(--hover)' },
  '.cm-content': { caretColor: 'var(--ink)' },
  '.cm-cursor': { borderLeftColor: 'var(--ink)' },
  '&.cm-focused': { outline: '2px solid var(--ring)', outlineOffset: '-2px' },
  '.cm-selectionBackground, &.cm-focused .cm-selectionBackground': { backgroundColor: 'var(--accent-wash) !important' },
  '.cm-tooltip': { backgroundColor: 'var(--card)', border: '1px solid var(--line)', color: 'var(--ink)' },
  '.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--accent-ink)' },
});

function languageOf(name: string): Extension {
  switch (name) {
    case 'python3':
      return python();
    case 'bun':
    case 'deno':
    case 'nativets':
    case 'json':
      return javascript({ typescript: true });
    case 'expr':
      return javascript();
    case 'go':
      return go();
    case 'postgresql':
      return sql({ dialect: PostgreSQL });
    case 'bash':
      return StreamLanguage.define(shell);
    default:
      return [];
  }
}

/** A field of a few lines: no numbers, as high as what stands in it, and Tab leaves it. */
const small = EditorView.theme({
  '&': { height: 'auto', border: '1px solid var(--line-strong)', borderRadius: '6px' },
  '.cm-scroller': { maxHeight: '12rem', lineHeight: '1.5' },
  '.cm-content': { padding: '5px 4px' },
});

/** namesFrom completes what expressions may begin with. */
function namesFrom(names: () => string[]) {
  return (c: CompletionContext) => {
    const word = c.matchBefore(/[\w$.?]*/);
    if (!word || (word.from === word.to && !c.explicit)) return null;
    return { from: word.from, options: names().map((label): Completion => ({ label, type: 'variable' })), validFor: /^[\w$.?]*$/ };
  };
}

export interface Editor {
  setLanguage(name: string): void;
  setText(text: string): void;
  destroy(): void;
}

export function edit(host: HTMLElement, o: { text: string; language: string; label: string; readonly: boolean; changed: (text: string) => void; names?: () => string[] }): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
  const language = new Compartment();
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: o.text,
      extensions: [
        o.names ? small : [lineNumbers(), highlightActiveLine()],
        highlightSpecialChars(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        autocompletion(o.names ? { override: [namesFrom(o.names)], interactionDelay: 0 } : {}),
        syntaxHighlighting(colours),
        look,
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, ...(o.names ? [] : [indentWithTab])]),
        // What is only read is scrolled by keys all the same.
        EditorView.contentAttributes.of({ 'aria-label': o.label, ...(o.readonly ? { tabindex: '0' } : {}) }),
        EditorState.readOnly.of(o.readonly),
        language.of(languageOf(o.language)),
        EditorView.updateListener.of((u) => {
          if (u.docChanged) o.changed(u.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    setLanguage: (name) => view.dispatch({ effects: language.reconfigure(languageOf(name)) }),
    setText: (text) => {
      if (text !== view.state.doc.toString()) view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
    },
    destroy: () => view.destroy(),
  };
}
