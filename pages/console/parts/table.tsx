// A table that scrolls sideways within its panel, and a list that is read page by page.

import type { ComponentChildren } from 'preact';

export type Column<Row> = {
  title: string;
  /** aligned to the right, in figures of one width */
  isNumber?: boolean;
  cell(row: Row): ComponentChildren;
};

type TableProps<Row> = {
  /** for screen readers */
  caption: string;
  columns: Column<Row>[];
  rows: Row[];
  rowKey(row: Row, at: number): string;
};

export function Table<Row>({ caption, columns, rows, rowKey }: TableProps<Row>) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it
    <section class="table" tabIndex={0} aria-label={caption}>
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ title, isNumber }) => (
              <th key={title} scope="col" class={isNumber ? 'number' : undefined}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={rowKey(row, at)}>
              {columns.map(({ title, isNumber, cell }) => (
                <td key={title} class={isNumber ? 'number' : undefined}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
