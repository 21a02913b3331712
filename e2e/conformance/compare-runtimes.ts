// Differences between two runtimes in recorded values and response shapes, and operations that were not called.

import type { Json } from '../../testing/edge-server.ts';
import type { Call } from './api.ts';

/** Absolute tolerance for non-integer numbers. */
const TOLERANCE = 1e-3;

/** Every path at which two values differ, with both values. */
export function listDifferences(one: Json, other: Json, path = ''): string[] {
  if (isObject(one) && isObject(other)) {
    const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
    return [...keys].flatMap((key) => listDifferences(one[key], other[key], `${path}/${key}`));
  }
  return isSame(one, other) ? [] : [`${path}: ${JSON.stringify(one)} and ${JSON.stringify(other)}`];
}

const isObject = (value: Json) => typeof value === 'object' && value !== null;

function isSame(one: Json, other: Json): boolean {
  if (typeof one !== 'number' || typeof other !== 'number') return one === other;
  return Number.isInteger(one) || Number.isInteger(other) ? one === other : Math.abs(one - other) <= TOLERANCE;
}

type Document = { paths: Record<string, Record<string, unknown>> };

/** The document's operations; those without parameters first, so that `/v1/preferences/stats` does not match an id. */
function listOperations(document: Document): { name: string; method: string; pattern: RegExp }[] {
  return Object.entries(document.paths)
    .flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({
        name: `${method.toUpperCase()} ${path}`,
        method: method.toUpperCase(),
        pattern: new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
      })),
    )
    .sort((a, b) => Number(a.name.includes('{')) - Number(b.name.includes('{')));
}

const getOperation = (operations: ReturnType<typeof listOperations>, call: Call) =>
  operations.find(({ method, pattern }) => method === call.method && pattern.test(call.path))?.name;

/** Operations without a call that returned 200. */
export function listMissingOperations(document: Document, calls: Call[]): string[] {
  const operations = listOperations(document);
  const called = new Set(calls.filter(({ status }) => status === 200).map((call) => getOperation(operations, call)));
  return operations.map(({ name }) => name).filter((name) => !called.has(name));
}

/** Media types, headers and fields of all responses, by operation and status. */
export function collectShapes(document: Document, calls: Call[]): Record<string, Record<string, true>> {
  const operations = listOperations(document);
  const shapes: Record<string, Record<string, true>> = {};
  for (const call of calls) {
    const name = `${getOperation(operations, call) ?? 'no operation'} ${call.status}`;
    const headers = call.headers.map((header) => `with ${header}`);
    const lines = Object.fromEntries([call.type, ...headers, ...call.shape].map((line) => [line, true as const]));
    shapes[name] = { ...shapes[name], ...lines };
  }
  return shapes;
}
