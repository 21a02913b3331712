// What the parts of the torture found: rows of one table, and failures in words.

/** After a fault, requests must be acknowledged again within this time. */
export const RECOVERY_LIMIT_MS = 15_000;

export type Row = {
  /** What was done. */
  what: string;
  /** How often it was done. */
  times: number;
  tried: number;
  acknowledged: number;
  lost?: number;
  duplicated?: number;
  wronglyDenied?: number;
  late?: number;
  longestRecoveryMs?: number | null;
  /** Figures that have no column. */
  note?: string;
};

export class Report {
  readonly failures: string[] = [];
  /** Parts that this machine cannot run, with the reason. */
  readonly skipped: string[] = [];
  private readonly rows: Row[] = [];
  private readonly startMs = performance.now();

  /** A line of progress. */
  log(line: string): void {
    const seconds = ((performance.now() - this.startMs) / 1000).toFixed(0).padStart(4);
    console.error(`${seconds} s  ${line}`);
  }

  add(row: Row): void {
    this.rows.push(row);
    this.log(formatCells(row).join('  '));
  }

  fail(failure: string): void {
    this.failures.push(failure);
    this.log(`FAILED: ${failure}`);
  }

  skip(reason: string): void {
    this.skipped.push(reason);
    this.log(`*** NOT RUN: ${reason} ***`);
  }

  /** A Markdown table, then what was skipped and what failed. */
  format(): string {
    const lines = [HEADINGS, HEADINGS.map(() => '---'), ...this.rows.map(formatCells)];
    const table = lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
    const list = (title: string, items: string[]) =>
      items.length === 0 ? '' : `\n\n${title}\n${items.map((item) => `- ${item}`).join('\n')}`;
    return table + list('Not run:', this.skipped) + list('Failed:', this.failures);
  }
}

const HEADINGS = [
  'what was done',
  'times',
  'tried',
  'acknowledged',
  'lost',
  'duplicated',
  'wrongly "not stored"',
  'over deadline',
  'longest recovery',
  'and',
];

function formatCells(row: Row): string[] {
  const recovery = row.longestRecoveryMs;
  return [
    row.what,
    ...[row.times, row.tried, row.acknowledged, row.lost, row.duplicated, row.wronglyDenied, row.late].map((count) =>
      count === undefined ? '' : String(count),
    ),
    recovery === undefined ? '' : recovery === null ? 'never' : `${(recovery / 1000).toFixed(1)} s`,
    row.note ?? '',
  ];
}
