import type { PreferenceRecord } from './record.ts';
export function writePreference(record: PreferenceRecord, _format: 'openai' | 'trl'): string | null { return JSON.stringify(record); }
