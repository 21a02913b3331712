// The shape of a response: its fields and their types, without values. Two runtimes must give responses of the same shape.

import type { Json } from '../../testing/edge-server.ts';

/** Fields whose keys are data: tokens, counts by name, client metadata. */
const MAPS = new Set(['top_logprobs', 'metadata', 'by_choice', 'by_source', 'data', 'paths', 'schemas', 'responses']);

/** `choices[].message.content: string` and the like. */
function toShape(value: Json, path = '', name = ''): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((item) => toShape(item, `${path}[]`)))];
  if (typeof value !== 'object' || value === null) return [`${path}: ${value === null ? 'null' : typeof value}`];
  const shapes = Object.entries(value).flatMap(([key, item]) =>
    toShape(item, `${path}.${MAPS.has(name) ? '*' : key}`, key),
  );
  return [...new Set([`${path}: object`, ...shapes])];
}

export const isJson = (type: string): boolean => /^application\/json(;|$)/.test(type);

/** The shape of a body by media type; the union over events of a stream or lines of JSONL. */
export function toBodyShape(type: string, text: string): string[] {
  if (isJson(type)) return toShape(JSON.parse(text));
  const lines = text.split('\n').filter((line) => line !== '');
  if (type.startsWith('application/jsonl')) return [...new Set(lines.flatMap((line) => toShape(JSON.parse(line))))];
  if (!type.startsWith('text/event-stream')) return [];
  const data = lines
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice('data: '.length)));
  return [...new Set(data.flatMap((event) => toShape(event)))];
}
