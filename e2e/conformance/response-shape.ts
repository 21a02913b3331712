// The shape of an answer: which fields it has at which depth and of what type, without what they hold. Two runtimes that
// answer the same requests must answer in the same shapes.

import type { Json } from '../../testing/edge-server.ts';

/** Fields whose keys are data: tokens, counts by name, whatever a client sent. */
const MAPS = new Set(['top_logprobs', 'metadata', 'by_choice', 'by_source', 'data', 'paths', 'schemas', 'responses']);

/** `choices[].message.content: string` and the like. */
export function shapeOf(value: Json, path = '', name = ''): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((item) => shapeOf(item, `${path}[]`)))];
  if (typeof value !== 'object' || value === null) return [`${path}: ${value === null ? 'null' : typeof value}`];
  const shapes = Object.entries(value).flatMap(([key, item]) =>
    shapeOf(item, `${path}.${MAPS.has(name) ? '*' : key}`, key),
  );
  return [...new Set([`${path}: object`, ...shapes])];
}

export const isJson = (type: string): boolean => /^application\/json(;|$)/.test(type);

/** The shape of a body by its media type; events and lines of JSON are taken together. */
export function shapeOfBody(type: string, text: string): string[] {
  if (isJson(type)) return shapeOf(JSON.parse(text));
  const lines = text.split('\n').filter((line) => line !== '');
  if (type.startsWith('application/jsonl')) return [...new Set(lines.flatMap((line) => shapeOf(JSON.parse(line))))];
  if (!type.startsWith('text/event-stream')) return [];
  const data = lines
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice('data: '.length)));
  return [...new Set(data.flatMap((event) => shapeOf(event)))];
}
