/**
 * A long-running process that this one started: its log, its end, and its id on record as long as
 * it lives.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { guard, unguard } from './guardian.js';
import { endReason } from './log-errors.js';
import type { PidFolder } from './pid-file.js';

export interface ProcessDescription {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Everything that it writes is appended here. */
  readonly logFile: string;
  /** Also write each of its lines to standard output, with its name before it. */
  readonly print?: boolean;
  /** What asks it to stop. */
  readonly stopSignal: NodeJS.Signals;
  /** How long it may take to stop before it is killed (milliseconds). */
  readonly stopTimeoutMs: number;
  readonly pidFolder?: PidFolder | undefined;
}

export interface ExitStatus {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * A process ended, or could not become ready, when it should have run; the message ends with the
 * last lines of its log.
 */
export class ProcessFailedError extends Error {
  readonly code = 'PROCESS_FAILED';
  constructor(name: string, what: string, logFile: string) {
    super(`${name} ${what}; its log ${logFile} ends with:\n${tail(logFile)}`);
    this.name = 'ProcessFailedError';
  }
}

export class ManagedProcess {
  /** Resolves when the process has ended, for whatever reason. */
  readonly exited: Promise<ExitStatus>;
  private status: ExitStatus | undefined;

  private constructor(
    readonly description: ProcessDescription,
    private readonly child: ChildProcess,
    readonly pid: number,
    /** Where in the log its own lines begin (bytes). */
    private readonly logStart: number,
  ) {
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.status = { code, signal };
        unguard(pid);
        description.pidFolder?.remove(description.name);
        resolve(this.status);
      });
    });
  }

  /** Rejects with ProcessFailedError when the program cannot be started. */
  static async start(description: ProcessDescription): Promise<ManagedProcess> {
    mkdirSync(dirname(description.logFile), { recursive: true });
    const log = openSync(description.logFile, 'a');
    const logStart = fstatSync(log).size;
    const child = spawn(description.command, description.args, {
      env: description.environment ?? process.env,
      // Away from the terminal's process group: an interrupt there is for the launcher, which stops
      // things in order.
      detached: true,
      stdio: ['ignore', description.print ? 'pipe' : log, description.print ? 'pipe' : log],
      ...(description.cwd !== undefined && { cwd: description.cwd }),
      ...(description.uid !== undefined && { uid: description.uid }),
      ...(description.gid !== undefined && { gid: description.gid }),
    });
    const failure = await new Promise<Error | undefined>((resolve) => {
      child.once('spawn', () => resolve(undefined));
      child.once('error', resolve);
    });
    if (failure || child.pid === undefined) {
      closeSync(log);
      throw new ProcessFailedError(description.name, `could not be started: ${failure?.message}`, description.logFile);
    }
    if (description.print) printLines(child, description.name, log);
    else closeSync(log);
    guard(child.pid, description.stopSignal === 'SIGINT' ? 'QUIT' : 'KILL');
    const managed = new ManagedProcess(description, child, child.pid, logStart);
    await description.pidFolder?.add(description.name, child.pid);
    return managed;
  }

  get name(): string {
    return this.description.name;
  }

  get isRunning(): boolean {
    return this.status === undefined;
  }

  /** Why it ended, as far as its log says. */
  endReason(): Promise<string | undefined> {
    return endReason(this.description.logFile, this.logStart);
  }

  /** Sends a signal; does nothing when the process has ended. */
  kill(signal: NodeJS.Signals): void {
    if (this.isRunning) this.child.kill(signal);
  }

  /** Asks the process to stop, kills it when it takes too long, and resolves when it is gone. */
  async stop(): Promise<ExitStatus> {
    this.kill(this.description.stopSignal);
    // A stopped (SIGSTOP) process hears nothing else until it goes on.
    this.kill('SIGCONT');
    const timer = setTimeout(() => this.kill('SIGKILL'), this.description.stopTimeoutMs);
    const status = await this.exited;
    clearTimeout(timer);
    return status;
  }

  /**
   * Resolves when `isReady` says true, asked again and again; rejects with ProcessFailedError when
   * the process ends first or `timeoutMs` milliseconds pass.
   */
  async ready(isReady: () => Promise<boolean>, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    const { name, logFile } = this.description;
    while (!(await isReady())) {
      if (this.status) {
        const { code, signal } = this.status;
        throw new ProcessFailedError(name, `ended with ${signal ?? `code ${code}`} while it started`, logFile);
      }
      if (Date.now() > deadline) {
        throw new ProcessFailedError(name, `was not ready after ${timeoutMs / 1000} s`, logFile);
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}

function printLines(child: ChildProcess, name: string, log: number): void {
  for (const stream of [child.stdout, child.stderr]) {
    if (!stream) continue;
    createInterface({ input: stream }).on('line', (line) => {
      writeSync(log, `${line}\n`);
      process.stdout.write(`${name.padEnd(12)} ${line}\n`);
    });
  }
}

/** The last lines of a log, indented. */
function tail(file: string, lines = 15): string {
  try {
    const text = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines);
    return text.map((line) => `  ${line.slice(0, 500)}`).join('\n');
  } catch {
    return '  (no log)';
  }
}
