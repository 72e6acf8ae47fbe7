/**
 * What a person sees while a command takes long: what it does, and for how long already. Nothing
 * where the output is no terminal.
 */

/** Between two lines (milliseconds). */
const TICK_MS = 1_000;
const CLEAR_LINE = '\r\u001b[K';

/** A terminal, or what stands for one. */
export interface Terminal {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** What is shown now ends; the next second shows it again. */
let clear = (): void => undefined;
export function clearProgress(): void {
  clear();
}

/** Shows `text` and the seconds until `work` has ended, beginning with the first second. */
export async function withProgress<T>(
  text: string,
  work: () => Promise<T>,
  terminal: Terminal = process.stderr,
  nowMs: () => number = () => performance.now(),
): Promise<T> {
  if (terminal.isTTY !== true) return work();
  const startMs = nowMs();
  const show = (): void => {
    terminal.write(`${CLEAR_LINE}${text} … ${Math.round((nowMs() - startMs) / 1_000)} s`);
  };
  const ticking = setInterval(show, TICK_MS);
  clear = () => void terminal.write(CLEAR_LINE);
  try {
    return await work();
  } finally {
    clearInterval(ticking);
    clear();
    clear = () => undefined;
  }
}
