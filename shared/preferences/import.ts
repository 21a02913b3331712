import type { PreferenceRecord } from './record.ts';
export async function* readPreferences(_source: AsyncIterable<Uint8Array>): AsyncGenerator<{ row: number; record: PreferenceRecord } | { row: number; error: string }> {}
