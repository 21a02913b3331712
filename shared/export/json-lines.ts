// Comparisons as JSON lines.

import type { ComparisonRecord } from './record.ts';

/** Each with its line feed. */
export async function* toJsonLines(records: AsyncIterable<ComparisonRecord>): AsyncGenerator<string> {
  for await (const record of records) yield `${JSON.stringify(record)}\n`;
}
