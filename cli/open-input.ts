// The file that a command reads: a path, or - for standard input.

import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { AttuneError } from '../shared/error.ts';

/** `command`: which the error names. */
export async function openInput(file: string, command: string): Promise<AsyncIterable<Uint8Array>> {
  if (file === '-') return process.stdin;
  try {
    // Opening a folder succeeds; reading it fails.
    await using handle = await open(file);
    if ((await handle.stat()).isDirectory()) throw new Error(`${file} is a folder; give a file`);
  } catch (error) {
    throw new AttuneError(`${command}: ${(error as Error).message}`);
  }
  return createReadStream(file);
}
