/** Watching the sources of a state machine: what it is made of, and when that has changed. */
import { execFile } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { moduleFiles } from '../../shared/engine/loading.js';

/** A state machine as it loads now. */
export interface CheckedMachine {
  readonly name: string;
  /** The newest one. */
  readonly version: number;
  /** Of the code, by version. */
  readonly fingerprints: Readonly<Record<string, string>>;
  /** Its files, and the folders of its migrations. */
  readonly paths: readonly string[];
}

/**
 * Between two looks (milliseconds). An editor has written everything when two looks find the same.
 */
const LOOK_MS = 200;
/** A module may read much when it is loaded (milliseconds). */
const CHECK_MS_MAX = 30_000;

/**
 * Loads the machine of a file, in another process. @throws Error with one line that has file and
 * line of what is wrong.
 */
export async function checkMachine(path: string): Promise<CheckedMachine> {
  const program = fileURLToPath(new URL('./check-machine.js', import.meta.url));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [program, path], { timeout: CHECK_MS_MAX });
    return JSON.parse(stdout) as CheckedMachine;
  } catch (cause) {
    const { stderr = '' } = cause as { stderr?: string };
    throw new Error(stderr.trim() || `${path} does not load within ${CHECK_MS_MAX / 1_000} s`, { cause });
  }
}

/**
 * What a look has to cover: the files and folders of the machine that loaded last, and the files
 * that the module imports now. A module that does not load can be mended in a file that it did not
 * import before.
 */
export function watchedPaths({ paths }: Pick<CheckedMachine, 'paths'>, path: string): readonly string[] {
  try {
    return [...new Set([...paths, ...moduleFiles(path)])];
  } catch {
    // A file is being replaced; the next look finds it.
    return paths;
  }
}

/**
 * Tells when what is looked at has changed and come to rest: once for each change, however many
 * writes it takes. Pure.
 */
export class Changes {
  private last: string;

  constructor(private settled: string) {
    this.last = settled;
  }

  /**
   * @param now what a look has found @returns whether it has changed since the last time that this
   * was true, and rests
   */
  see(now: string): boolean {
    const rests = now === this.last;
    this.last = now;
    if (!rests || now === this.settled) return false;
    this.settled = now;
    return true;
  }
}

/**
 * Calls `onChange` after each change of the files and folders that `paths` gives, one call after
 * the other, until `signal` ends it.
 */
export async function watchPaths(
  paths: () => readonly string[],
  onChange: () => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const changes = new Changes(await look(paths()));
  while (!signal.aborted) {
    await delay(LOOK_MS, undefined, { signal }).catch(() => undefined);
    if (!signal.aborted && changes.see(await look(paths()))) await onChange();
  }
}

/**
 * Sizes and times of files, and of those in folders: a text that differs when something was
 * written.
 */
async function look(paths: readonly string[]): Promise<string> {
  return (await Promise.all(paths.map(lookAt))).join('\n');
}

async function lookAt(path: string): Promise<string> {
  try {
    const about = await stat(path);
    if (!about.isDirectory()) return `${path} ${about.mtimeMs} ${about.size}`;
    const names = (await readdir(path)).sort();
    return `${path} ${await look(names.map((name) => join(path, name)))}`;
  } catch {
    // It is being replaced, or gone.
    return `${path} -`;
  }
}
