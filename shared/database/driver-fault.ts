// postgres.js 3.4.9 has one fault that ends a process: a transaction whose connection died is rolled back on a socket
// that is no longer there, and the write throws outside any promise. The transaction itself has been refused by then,
// so nothing is lost by going on; but that one connection of the pool stays dead, and each use of it times out, until
// the process restarts. Every other uncaught error still ends the process.

/** Keeps the process alive through that fault, and only that one. */
export function surviveDriverFault(): void {
  process.on('uncaughtException', (error) => {
    if (isDriverFault(error)) return;
    console.error('attune: internal:', error);
    process.exit(1);
  });
}

function isDriverFault(error: unknown): boolean {
  return (
    error instanceof TypeError &&
    error.message === "Cannot read properties of null (reading 'write')" &&
    /at (Immediate\.)?nextWrite .*postgres/.test(error.stack ?? '')
  );
}
