// Writes an export to standard output, as fast as its reader takes them.

/** `lines`: each with its line feed; or the bytes of a file. */
export async function printLines(lines: AsyncIterable<string | Uint8Array>): Promise<void> {
  // The reader may close the pipe early, as `head` does.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  for await (const line of lines)
    if (!process.stdout.write(line)) await new Promise((resolve) => process.stdout.once('drain', resolve));
}
