/** Starts a TypeScript file as a process and follows what it prints. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const HOOK = new URL('./typescript-hook.mjs', import.meta.url).href;

export interface Child {
  readonly process: ChildProcess;
  /** Every line that it printed so far. */
  readonly lines: readonly string[];
  /**
   * Resolves with the first line that satisfies `condition`; rejects when the process ends without
   * one.
   */
  line(condition: (line: string) => boolean): Promise<string>;
  /** Resolves when it has ended and all that it printed has been read. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export interface StartOptions {
  /** A write beyond the limit of file sizes fails, when one is set later. */
  readonly ignoresFileLimit?: boolean;
}

export function start(file: string, args: readonly string[], { ignoresFileLimit = false }: StartOptions = {}): Child {
  const node = [process.execPath, '--import', HOOK, fileURLToPath(new URL(file, import.meta.url)), ...args];
  // The signal that comes with the limit is ignored, so that the write fails like one on a full
  // disk.
  const ignoring = ['bash', '-c', `trap '' XFSZ; exec "$0" "$@"`, ...node];
  const [command = '', ...rest] = ignoresFileLimit ? ignoring : node;
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  let errors = '';
  child.stderr.on('data', (data) => {
    errors += data;
  });
  const reader = createInterface({ input: child.stdout });
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const check of waiting) check();
  };
  reader.on('line', (line) => {
    lines.push(line);
    wake();
  });
  const ended = Promise.all([once(child, 'exit'), once(reader, 'close')]).then(([[code, signal]]) => {
    return { code: code as number | null, signal: signal as NodeJS.Signals | null };
  });
  let over = false;
  void ended.then(() => {
    over = true;
    wake();
  });
  return {
    process: child,
    lines,
    ended,
    line: (condition) =>
      new Promise((resolve, reject) => {
        let seen = 0;
        const check = () => {
          while (seen < lines.length) {
            const line = lines[seen++] ?? '';
            if (condition(line)) {
              waiting.delete(check);
              resolve(line);
              return;
            }
          }
          if (over) {
            waiting.delete(check);
            reject(new Error(`the child ended without that line: ${lines.slice(-3).join(' | ')} ${errors}`));
          }
        };
        waiting.add(check);
        check();
      }),
  };
}
