// Where two runtimes differ: in what they said, or in the shapes of their answers; and what of the API was not called.

import type { Json } from '../../testing/edge-server.ts';
import type { Call } from './api.ts';

/** Numbers of two machines' arithmetic may be this far apart; whole ones may not. */
const TOLERANCE = 1e-3;

/** Each place at which two values differ, with both of them. */
export function differences(one: Json, other: Json, path = ''): string[] {
  if (isObject(one) && isObject(other)) {
    const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
    return [...keys].flatMap((key) => differences(one[key], other[key], `${path}/${key}`));
  }
  return isSame(one, other) ? [] : [`${path}: ${JSON.stringify(one)} and ${JSON.stringify(other)}`];
}

const isObject = (value: Json) => typeof value === 'object' && value !== null;

function isSame(one: Json, other: Json): boolean {
  if (typeof one !== 'number' || typeof other !== 'number') return one === other;
  return Number.isInteger(one) || Number.isInteger(other) ? one === other : Math.abs(one - other) <= TOLERANCE;
}

type Document = { paths: Record<string, Record<string, unknown>> };

/** The document's operations, those without parameters first, for `/v1/preferences/stats` is no id. */
function operationsOf(document: Document): { name: string; method: string; pattern: RegExp }[] {
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

const nameOf = (operations: ReturnType<typeof operationsOf>, call: Call) =>
  operations.find(({ method, pattern }) => method === call.method && pattern.test(call.path))?.name;

/** The operations that no call has had a 200 from. */
export function missingOperations(document: Document, calls: Call[]): string[] {
  const operations = operationsOf(document);
  const called = new Set(calls.filter(({ status }) => status === 200).map((call) => nameOf(operations, call)));
  return operations.map(({ name }) => name).filter((name) => !called.has(name));
}

/** For each operation and status: the media types, headers and shapes of all that was answered. */
export function shapesOf(document: Document, calls: Call[]): Record<string, Record<string, true>> {
  const operations = operationsOf(document);
  const shapes: Record<string, Record<string, true>> = {};
  for (const call of calls) {
    const name = `${nameOf(operations, call) ?? 'nothing'} ${call.status}`;
    const headers = call.headers.map((header) => `with ${header}`);
    const lines = Object.fromEntries([call.type, ...headers, ...call.shape].map((line) => [line, true as const]));
    shapes[name] = { ...shapes[name], ...lines };
  }
  return shapes;
}
