/**
 * Files that say which processes a launcher started. A process is known by its id and the moment it
 * started, because ids are used again. A start that finds processes of a launcher that is gone ends
 * them; one whose launcher lives is refused.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runCommand } from './tools/command.js';

interface ProcessIdentity {
  readonly pid: number;
  /** Whatever the system tells of when the process started; compared for equality only. */
  readonly started: string;
}

interface PidRecord extends ProcessIdentity {
  readonly name: string;
  readonly launcher: ProcessIdentity;
}

/** Another launcher uses the same data folder. */
export class AlreadyRunningError extends Error {
  readonly code = 'ALREADY_RUNNING';
  constructor(dir: string, pid: number) {
    super(
      `${dir} is in use by the launcher with process id ${pid}; stop that one, or set CRAFT_DATA_DIR to another folder`,
    );
    this.name = 'AlreadyRunningError';
  }
}

const END_TIMEOUT_MS = 10_000;

/**
 * When the process started, or undefined when there is none with that id (or only its unreaped
 * remains).
 */
export async function startOf(pid: number): Promise<string | undefined> {
  if (existsSync('/proc/self/stat')) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // The second field is the program's name in parentheses and may hold anything.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' ? undefined : fields[19];
    } catch {
      return undefined;
    }
  }
  const line = await runCommand('ps', ['-o', 'lstart=', '-p', String(pid)], { timeoutMs: 5_000 }).catch(() => '');
  return line.trim() || undefined;
}

async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  return (await startOf(identity.pid)) === identity.started;
}

/** The folder of one launcher's process files; held from `open` to `close`. */
export class PidFolder {
  private constructor(
    readonly dir: string,
    private readonly launcher: ProcessIdentity,
  ) {}

  /**
   * Takes the folder, after ending what a launcher that is gone has left behind (told to
   * `onOrphan`). Rejects with AlreadyRunningError when a launcher that lives holds it.
   */
  static async open(dir: string, onOrphan: (name: string, pid: number) => void = () => {}): Promise<PidFolder> {
    await mkdir(dir, { recursive: true });
    const self = { pid: process.pid, started: (await startOf(process.pid)) ?? '' };
    const folder = new PidFolder(dir, self);
    const records = (await readdir(dir)).filter((file) => file.endsWith('.json')).map((file) => readRecord(dir, file));
    for (const record of records) {
      if (record !== undefined && (await isAlive(record.launcher))) {
        throw new AlreadyRunningError(dir, record.launcher.pid);
      }
    }
    for (const record of records) {
      if (record === undefined) continue;
      if (record.name !== 'launcher' && (await isAlive(record))) {
        onOrphan(record.name, record.pid);
        await end(record);
      }
      rmSync(join(dir, `${record.name}.json`), { force: true });
    }
    folder.put({ name: 'launcher', ...self, launcher: self });
    return folder;
  }

  async add(name: string, pid: number): Promise<void> {
    this.put({ name, pid, started: (await startOf(pid)) ?? '', launcher: this.launcher });
  }

  remove(name: string): void {
    rmSync(join(this.dir, `${name}.json`), { force: true });
  }

  close(): void {
    this.remove('launcher');
  }

  private put(record: PidRecord): void {
    writeFileSync(join(this.dir, `${record.name}.json`), `${JSON.stringify(record)}\n`);
  }
}

function readRecord(dir: string, file: string): PidRecord | undefined {
  try {
    return JSON.parse(readFileSync(join(dir, file), 'utf8')) as PidRecord;
  } catch {
    // Half written when the machine stopped: whatever it named is gone as well.
    rmSync(join(dir, file), { force: true });
    return undefined;
  }
}

/**
 * Asks, then insists. SIGINT stops nats-server, Postgres (its fast shutdown), Jaeger and the
 * services alike.
 */
async function end(record: PidRecord): Promise<void> {
  for (const signal of ['SIGINT', 'SIGKILL'] as const) {
    try {
      process.kill(record.pid, signal);
    } catch {
      return;
    }
    const deadline = Date.now() + END_TIMEOUT_MS;
    while (Date.now() < deadline) {
      if (!(await isAlive(record))) return;
      await delay(50);
    }
  }
}
