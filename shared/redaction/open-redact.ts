// REDACT on Node: nothing, the patterns of pii.ts, or a module of one's own, which exports a function from text to text.

import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { AttuneError, getErrorMessage } from '../error.ts';
import { redactPii } from './pii.ts';
import type { Redact } from './redact.ts';

/** Null without REDACT. Throws AttuneError if it is a module that cannot be used. */
export async function openRedact(setting: string | undefined): Promise<Redact | null> {
  if (setting === undefined) return null;
  return setting === 'pii' ? redactPii : loadRedact(setting);
}

async function loadRedact(file: string): Promise<Redact> {
  const module = (await import(pathToFileURL(path.resolve(file)).href).catch((error: unknown) => {
    throw toError(file, `the import failed: ${getErrorMessage(error)}`, 'fix the module, or its path');
  })) as { default?: unknown };
  const { default: redact } = module;
  if (typeof redact !== 'function')
    throw toError(file, 'the default export is not a function', 'write export default (text) => …');
  return async (text) => {
    const redacted = await call(file, redact as Redact, text);
    if (typeof redacted !== 'string') throw notStored(file, 'returned no text');
    return redacted;
  };
}

async function call(file: string, redact: (text: string) => unknown, text: string): Promise<unknown> {
  try {
    return await redact(text);
  } catch (error) {
    // Its message may quote the text, and this one is logged.
    throw notStored(file, `threw ${error instanceof Error ? error.name : 'no Error'}`);
  }
}

function notStored(file: string, problem: string): AttuneError {
  return new AttuneError(
    `REDACT: ${file} ${problem}, so the text and what it belongs to were not stored; fix the module, and restart the server`,
    {
      status: 500,
      code: 'redaction_failed',
      retry: false,
    },
  );
}

function toError(file: string, problem: string, remedy: string): AttuneError {
  return new AttuneError(`settings: REDACT: ${file}: ${problem}; ${remedy}`, { code: 'invalid_settings' });
}
