/**
 * A part of a local cluster that can be stopped, killed and started again: a process and how to
 * start it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { ExitStatus, ManagedProcess } from './managed-process.js';

const RESTART_DELAY_MS = 1_000;
/** After so many equal ends in a row the process is not started again. */
const EQUAL_ENDS_MAX = 5;
/** A process that has run for so long (milliseconds) was well: what came before does not count. */
const WELL_MS = 30_000;
const FATAL: ReadonlySet<NodeJS.Signals> = new Set<NodeJS.Signals>([
  'SIGKILL',
  'SIGTERM',
  'SIGINT',
  'SIGQUIT',
  'SIGABRT',
]);

/** A process has ended without having been asked to. */
export interface PartEnd {
  readonly status: ExitStatus;
  /** As far as its log says. */
  readonly reason: string | undefined;
  /** `given-up`: it has ended in the same way again and again. */
  readonly next: 'again' | 'given-up' | 'none';
}

export interface PartOptions {
  /**
   * Start the process again, after a while, when it ends without having been asked to; not for ever
   * when it ends in the same way.
   */
  readonly supervise: boolean;
  /** Before it is started again (milliseconds); a second unless given. */
  readonly restartDelayMs?: number;
  /** Told of each such end. */
  readonly onEnd?: (name: string, end: PartEnd) => void;
}

export class Part {
  private current: ManagedProcess | undefined;
  private isWanted = false;
  private starting: Promise<void> | undefined;
  private startedMs = 0;
  /** The newest end, without its numbers, and how often it has come in a row. */
  private lastEnd = '';
  private equalEnds = 0;
  private givenUp: PartEnd | undefined;

  constructor(
    readonly name: string,
    private readonly launch: () => Promise<ManagedProcess>,
    private readonly options: PartOptions,
  ) {}

  /** The process, when it runs. */
  get process(): ManagedProcess | undefined {
    return this.current?.isRunning ? this.current : undefined;
  }

  /** How it ended, when it is not started any more because of that. */
  get lastWord(): PartEnd | undefined {
    return this.givenUp;
  }

  /** Does nothing when it runs. Rejects when it cannot be started. */
  start(): Promise<void> {
    this.equalEnds = 0;
    this.givenUp = undefined;
    return this.begin();
  }

  /**
   * Sends a signal; when it is one that ends processes, resolves after the end, and the process is
   * not started again.
   */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const running = this.process;
    if (FATAL.has(signal)) this.isWanted = false;
    running?.kill(signal);
    if (FATAL.has(signal)) await running?.exited;
  }

  /** Resolves when the process is gone, also one that was just being started. */
  async stop(): Promise<void> {
    this.isWanted = false;
    await this.starting?.catch(() => {});
    await this.process?.stop();
  }

  private begin(): Promise<void> {
    this.isWanted = true;
    this.starting ??= this.launchOnce().finally(() => {
      this.starting = undefined;
    });
    return this.starting;
  }

  private async launchOnce(): Promise<void> {
    if (this.process) return;
    const started = await this.launch();
    this.current = started;
    this.startedMs = performance.now();
    void started.exited.then((status) => this.onExit(started, status));
  }

  private async onExit(ended: ManagedProcess, status: ExitStatus): Promise<void> {
    if (!this.isWanted) return;
    const livedMs = performance.now() - this.startedMs;
    // What a signal ends has no word of it in its log.
    const reason = status.signal === null ? await ended.endReason() : undefined;
    const isLast = this.count(`${status.signal ?? status.code} ${reason ?? ''}`, livedMs) >= EQUAL_ENDS_MAX;
    const next = !this.options.supervise ? 'none' : isLast ? 'given-up' : 'again';
    const end: PartEnd = { status, reason, next };
    if (next === 'given-up') {
      this.isWanted = false;
      this.givenUp = end;
    }
    this.options.onEnd?.(this.name, end);
    while (next === 'again' && this.isWanted && !this.process) {
      await delay(this.options.restartDelayMs ?? RESTART_DELAY_MS, undefined, { ref: false });
      // A start that fails has written why to the log of the process, and is tried again.
      if (this.isWanted) await this.begin().catch(() => {});
    }
  }

  /**
   * How often it has ended like this in a row. Ports, times and process ids make no other reason.
   */
  private count(end: string, livedMs: number): number {
    const plain = end.replaceAll(/\d+/g, '#');
    this.equalEnds = plain === this.lastEnd && livedMs < WELL_MS ? this.equalEnds + 1 : 1;
    this.lastEnd = plain;
    return this.equalEnds;
  }
}
