// Waits for bytes of a request's body: a client that is too slow gets a 408, one that disconnects a 400.

import { AttuneError } from '../../shared/error.ts';

type BodyErrors = { tooSlow: string; incomplete: string };

/** The bytes. Throws `request_timeout` after the limit, and `incomplete_body` if the connection ends before. */
export async function awaitBody<T>(
  read: Promise<T>,
  timeoutMs: number,
  { tooSlow, incomplete }: BodyErrors,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new AttuneError(tooSlow, { status: 408, code: 'request_timeout', retry: true })),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([read, timeout]);
  } catch (error) {
    if (error instanceof AttuneError) throw error;
    throw new AttuneError(incomplete, { code: 'incomplete_body' });
  } finally {
    clearTimeout(timer);
  }
}
