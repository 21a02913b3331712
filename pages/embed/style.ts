// How <attune-compare> looks. A page changes it by custom properties and by ::part; nothing else of the page reaches it, but the
// direction, the language and the color-scheme that it inherits.

export const STYLE = `
:host {
  --_text: var(--attune-color, light-dark(#1b1f24, #e8eaed));
  --_muted: var(--attune-muted-color, light-dark(#59636e, #a9b1ba));
  --_background: var(--attune-background, light-dark(#fff, #16191d));
  --_side: var(--attune-side-background, light-dark(#f6f8fa, #20242a));
  --_border: var(--attune-border-color, light-dark(#c9d1d9, #444c56));
  --_accent: var(--attune-accent, light-dark(#0a58ca, #7db1ff));
  --_on-accent: var(--attune-on-accent, light-dark(#fff, #10141a));
  --_radius: var(--attune-radius, 0.5rem);
  --_gap: var(--attune-gap, 0.75rem);
  container-type: inline-size;
  display: block;
  font: var(--attune-font, 1rem / 1.5 system-ui, sans-serif);
  color: var(--_text);
  text-align: start;
}
:host([theme='auto']) { color-scheme: light dark; }
:host([theme='light']) { color-scheme: light; }
:host([theme='dark']) { color-scheme: dark; }
:host([hidden]), [hidden] { display: none !important; }
* { box-sizing: border-box; }
section {
  background: var(--_background);
  border: 1px solid var(--_border);
  border-radius: var(--_radius);
  display: grid;
  gap: var(--_gap);
  padding: var(--_gap);
}
#title, .label { font-weight: 600; margin: 0; }
.label { color: var(--_muted); font-size: 0.875em; margin-block-end: 0.25em; }
.sides { display: grid; gap: var(--_gap); grid-template-columns: minmax(0, 1fr); }
@container (inline-size >= 36rem) { .sides { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
article { background: var(--_side); border: 2px solid transparent; border-radius: var(--_radius); padding: var(--_gap); }
article[data-chosen] { border-color: var(--_accent); }
.text { overflow-wrap: anywhere; }
.text > :first-child { margin-block-start: 0; }
.text > :last-child { margin-block-end: 0; }
.text p, .text li { white-space: pre-wrap; }
.text p, .text ul, .text ol, .text pre, .text blockquote { margin-block: 0.5em; }
.text ul, .text ol { padding-inline-start: 1.5em; }
.text blockquote { border-inline-start: 3px solid var(--_border); margin-inline: 0; padding-inline-start: 0.75em; }
.text a { color: var(--_accent); }
.text code { font-family: var(--attune-code-font, ui-monospace, monospace); font-size: 0.9em; }
.text pre, .text .scroll { direction: ltr; overflow-x: auto; text-align: left; }
.text pre { background: var(--_background); border-radius: calc(var(--_radius) / 2); padding: 0.5em; }
.text pre code { white-space: pre; }
.text table { border-collapse: collapse; }
.text th, .text td { border: 1px solid var(--_border); padding: 0.25em 0.5em; text-align: start; }
.votes { display: grid; gap: calc(var(--_gap) / 2); grid-template-columns: repeat(2, minmax(0, 1fr)); }
@container (inline-size >= 36rem) { .votes { grid-template-columns: repeat(4, minmax(0, 1fr)); } }
button {
  background: var(--_background);
  border: 1px solid var(--_border);
  border-radius: var(--_radius);
  color: inherit;
  cursor: pointer;
  font: inherit;
  min-block-size: 2.75rem;
  padding: 0.25rem 0.75rem;
}
button:hover:not(:disabled) { border-color: var(--_accent); }
button:focus-visible, .text :focus-visible { outline: 3px solid var(--_accent); outline-offset: 2px; }
button[aria-pressed='true'] { background: var(--_accent); border-color: var(--_accent); color: var(--_on-accent); }
button:disabled { cursor: default; }
.status { align-items: center; display: flex; flex-wrap: wrap; gap: var(--_gap); min-block-size: 2.75rem; }
.status p { flex: 1 1 12rem; margin: 0; }
@media (prefers-reduced-motion: no-preference) { button { transition: background-color 0.15s, border-color 0.15s; } }
`;
