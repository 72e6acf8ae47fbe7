/** Ending in order when asked to. */
import { onScriptEnd } from '../../services/cli/npm-script.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Calls `stop` at the first SIGINT, SIGTERM or SIGHUP, or when the npm script ends that has started
 * this process, then exits with `exitCode`; a second signal does not wait. Whatever is still
 * running then ends with this process.
 */
export function stopOnSignal(stop: (signal: NodeJS.Signals) => Promise<void>, exitCode: number): void {
  let isStopping = false;
  const begin = (signal: NodeJS.Signals): void => {
    isStopping = true;
    stop(signal).then(
      () => process.exit(exitCode),
      () => process.exit(1),
    );
  };
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      if (isStopping) process.exit(1);
      begin(signal);
    });
  }
  onScriptEnd(() => {
    if (!isStopping) begin('SIGTERM');
  });
}
