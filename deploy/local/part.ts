/** A part of a local cluster that can be stopped, killed and started again: a process and how to start it. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ExitStatus, ManagedProcess } from './managed-process.js';

const RESTART_DELAY_MS = 1_000;
const FATAL: ReadonlySet<NodeJS.Signals> = new Set<NodeJS.Signals>([
  'SIGKILL',
  'SIGTERM',
  'SIGINT',
  'SIGQUIT',
  'SIGABRT',
]);

export interface PartOptions {
  /** Start the process again, after a second, when it ends without having been asked to. */
  readonly supervise: boolean;
  /** Told of each such end. */
  readonly onEnd?: (name: string, status: ExitStatus) => void;
}

export class Part {
  private current: ManagedProcess | undefined;
  private isWanted = false;
  private starting: Promise<void> | undefined;

  constructor(
    readonly name: string,
    private readonly launch: () => Promise<ManagedProcess>,
    private readonly options: PartOptions,
  ) {}

  /** The process, when it runs. */
  get process(): ManagedProcess | undefined {
    return this.current?.isRunning ? this.current : undefined;
  }

  /** Does nothing when it runs. Rejects when it cannot be started. */
  start(): Promise<void> {
    this.isWanted = true;
    this.starting ??= this.launchOnce().finally(() => {
      this.starting = undefined;
    });
    return this.starting;
  }

  /** Sends a signal; when it is one that ends processes, resolves after the end, and the process is not started again. */
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

  private async launchOnce(): Promise<void> {
    if (this.process) return;
    const started = await this.launch();
    this.current = started;
    void started.exited.then((status) => this.onExit(status));
  }

  private async onExit(status: ExitStatus): Promise<void> {
    if (!this.isWanted) return;
    this.options.onEnd?.(this.name, status);
    while (this.options.supervise && this.isWanted && !this.process) {
      await delay(RESTART_DELAY_MS, undefined, { ref: false });
      // A start that fails has written why to the log of the process, and is tried again.
      if (this.isWanted) await this.start().catch(() => {});
    }
  }
}
