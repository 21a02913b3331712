// The style sheet of the generated pages.

export const STYLE = `
:root { color-scheme: light dark; --ink: #1d2430; --grey: #5c6675; --line: #e3e6eb; --faint: #b4bbc6; --paper: #fff; --ground: #f5f6f8; --blue: #3d5bd1; --navy: #23307f;
  --chosen: #12807a; --rejected: #d4682b; --warn: #fff8df; --bad: #fdecec; --positive: #cfeee9; --negative: #fbdcc9; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --grey: #a3adbb; --line: #333a45; --faint: #596373; --paper: #1b2027; --ground: #12161b; --blue: #8ca3ff; --navy: #c3ceff;
    --chosen: #3fbdb3; --rejected: #ef8f57; --warn: #3a3216; --bad: #46221f; --positive: #17524d; --negative: #5c3520; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1096px; margin: 0 auto; padding: 40px 20px 64px; }
h1 { font-size: 30px; line-height: 1.25; letter-spacing: -0.01em; margin: 6px 0 18px; max-width: 900px; text-wrap: balance; }
h2 { font-size: 20px; margin: 0 0 6px; }
h3 { font-size: 14px; margin: 0 0 4px; text-align: center; }
h4 { font-size: 13px; margin: 0 0 6px; color: var(--grey); display: flex; justify-content: space-between; }
h4 span { font-variant-numeric: tabular-nums; }
.kicker { color: var(--grey); font-size: 14px; margin: 0; }
.simulated, .failure { border-left: 4px solid #e0b422; background: var(--warn); padding: 10px 14px; border-radius: 4px; margin: 0 0 12px; }
.failure { border-color: #c43d3d; background: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; margin: 20px 0; }
.tile { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.tile b { display: block; font-size: 26px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile:first-child b { color: var(--blue); }
.tile span { color: var(--grey); font-size: 13px; line-height: 1.35; display: block; margin-top: 4px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 22px 26px; margin: 16px 0; }
.note { color: var(--grey); font-size: 14px; margin: 0 0 14px; max-width: 900px; }
figure { margin: 8px 0; }
svg { max-width: 100%; height: auto; display: block; margin: 0 auto; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 8px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 22px; font-size: 13px; color: var(--grey); margin: 0 0 10px; }
.legend i { display: inline-block; width: 20px; margin-right: 7px; vertical-align: middle; border-top: 2px solid; }
.legend i.before { border-top-style: dashed; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--grey); font-weight: 600; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:last-child td { border-bottom: 0; }
article { border-top: 1px solid var(--line); padding: 16px 0; }
.prompt { margin: 0 0 10px; font-weight: 600; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; }
.side { border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.side.wins { border-color: var(--blue); box-shadow: inset 0 0 0 1px var(--blue); }
.side p { margin: 0; font-family: Georgia, "Times New Roman", serif; font-size: 15px; white-space: pre-line; }
mark { background: none; color: inherit; border-radius: 3px; padding: 0 2px; }
mark.positive { background: var(--positive); }
mark.negative { background: var(--negative); }
details { font-size: 14px; color: var(--grey); }
pre { background: var(--ground); border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; overflow-x: auto; font-size: 13px; margin: 14px 0 0; white-space: pre-wrap; }
footer { color: var(--grey); font-size: 13px; text-align: center; margin-top: 24px; }
@media (max-width: 720px) { .pair { grid-template-columns: 1fr; } section { padding: 18px 16px; } h1 { font-size: 24px; } }
@media print { body { background: #fff; } section { break-inside: avoid; } }
`;
