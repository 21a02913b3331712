// Files that a page makes: numbers as CSV, and plots as PNG.

import type { EChartsType } from 'echarts/core';

export type Numbers = { columns: string[]; rows: (string | number | null)[][] };

export function downloadCsv(name: string, { columns, rows }: Numbers): void {
  const lines = [columns, ...rows].map((row) => row.map(toCell).join(','));
  save(name, 'csv', new Blob([`${lines.join('\n')}\n`], { type: 'text/csv' }));
}

/** RFC 4180. A text that a spreadsheet would take for a formula is quoted with an apostrophe. */
function toCell(value: string | number | null): string {
  if (value === null || typeof value === 'number') return String(value ?? '');
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function downloadPng(name: string, chart: EChartsType, background: string): void {
  chart.renderToCanvas({ pixelRatio: 2, backgroundColor: background }).toBlob((blob: Blob | null) => {
    if (blob) save(name, 'png', blob);
  });
}

export function save(name: string, extension: string, blob: Blob): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `${name.toLowerCase().replaceAll(/[^\w]+/g, '-')}.${extension}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
