// Waits for work no longer than a limit, for answers that are due although Postgres may not respond.

/** The work's result; `otherwise` if it fails or takes longer. */
export async function withinTimeout<T, O>(work: Promise<T>, timeoutMs: number, otherwise: O): Promise<T | O> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<O>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, otherwise);
  });
  try {
    return await Promise.race([work, timeout]);
  } catch {
    return otherwise;
  } finally {
    clearTimeout(timer);
  }
}
