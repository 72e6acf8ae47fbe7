/** Ending in order when asked to. */

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Calls `stop` at the first SIGINT, SIGTERM or SIGHUP, then exits with `exitCode`; a second signal does not wait. Whatever is still
 * running then ends with this process.
 */
export function stopOnSignal(stop: (signal: NodeJS.Signals) => Promise<void>, exitCode: number): void {
  let isStopping = false;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      if (isStopping) process.exit(1);
      isStopping = true;
      stop(signal).then(
        () => process.exit(exitCode),
        () => process.exit(1),
      );
    });
  }
}
