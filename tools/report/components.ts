// What pages are made of.

import { Html, html } from './html.ts';

export function section(title: string, content: Html, note: string | Html): Html {
  return html`<section><h2>${title}</h2>${note !== '' && html`<p class="note">${note}</p>`}${content}</section>`;
}

export function figure(svg: string | null): Html {
  return svg === null ? html`` : html`<figure>${new Html(svg)}</figure>`;
}

export function table(rows: (string | Html)[][]): Html {
  const [head, ...body] = rows;
  return html`<div class="scroll"><table><thead><tr>${head!.map((cell) => html`<th>${cell}</th>`)}</tr></thead>
<tbody>${body.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div>`;
}

/** What to type to get what stands above. */
export function command(text: string): Html {
  return html`<pre>${text}</pre>`;
}
