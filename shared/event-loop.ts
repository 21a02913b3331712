// A pause in a long computation, so that the requests that wait for the thread go on.

export function letOthersRun(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
