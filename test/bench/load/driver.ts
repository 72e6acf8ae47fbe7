/** Drives a load process through one run, and takes what the processes around it use meanwhile. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Processes, processorSeconds } from '../processes.js';
import { readTraffic, type Traffic, trafficBetween } from '../traffic.js';
import type { Gap } from './gaps.js';
import type { FromLoad, LoadResult, LoadRun, ToLoad } from './protocol.js';

/** What is watched while measuring. */
export interface Watched {
  readonly processes: Processes;
  /** Addresses of the NATS servers' monitoring. */
  readonly monitors: readonly string[];
}

export interface Measured extends LoadResult {
  /**
   * Seconds of processor time while measuring, by name of process; the load's own and `others` with
   * them.
   */
  readonly processorSeconds: Readonly<Record<string, number>>;
  readonly traffic: Traffic;
}

/** Told while a run goes on. */
export interface Hooks {
  /** The warm-up is over. */
  readonly onMeasuring?: () => void;
  /** The measured seconds are over; what was sent may still be under way. */
  readonly onMeasured?: () => void;
  readonly onGap?: (gap: Gap) => void;
}

interface Counters {
  readonly seconds: Record<string, number>;
  readonly traffic: Traffic;
}

export class LoadProcess {
  private readonly child: ChildProcess;

  constructor() {
    this.child = fork(fileURLToPath(new URL('./main.js', import.meta.url)));
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** One at a time. Rejects when the load process cannot go on. */
  async run(run: LoadRun, watched: Watched, hooks: Hooks = {}): Promise<Measured> {
    const processes = { ...watched.processes, load: this.pid };
    const count = async (): Promise<Counters> => ({
      seconds: processorSeconds(processes),
      traffic: await readTraffic(watched.monitors),
    });
    const counts: Promise<Counters>[] = [];
    const take = (): void => {
      const counting = count();
      // Looked at when the run is over, which may be long after it has failed.
      counting.catch(() => undefined);
      counts.push(counting);
    };
    const result = await new Promise<LoadResult>((resolve, reject) => {
      const onExit = (): void => reject(new Error('the load process ended'));
      const onMessage = (message: FromLoad): void => {
        if (message.event === 'measuring') {
          take();
          hooks.onMeasuring?.();
        } else if (message.event === 'gap') {
          hooks.onGap?.(message.gap);
        } else if (message.event === 'measured') {
          take();
          hooks.onMeasured?.();
        } else {
          this.child.off('message', onMessage);
          this.child.off('exit', onExit);
          if (message.event === 'failed') reject(new Error(message.message));
          else resolve(message.result);
        }
      };
      this.child.on('message', onMessage);
      this.child.once('exit', onExit);
      this.tell({ order: 'run', run });
    });
    const [first, last] = await Promise.all(counts);
    if (first === undefined || last === undefined) throw new Error('the load process did not say when it measured');
    const seconds = Object.entries(last.seconds).map(([name, value]) => [name, value - (first.seconds[name] ?? 0)]);
    return {
      ...result,
      processorSeconds: Object.fromEntries(seconds),
      traffic: trafficBetween(first.traffic, last.traffic),
    };
  }

  /** Ends the measured seconds of the current run now; `run` resolves with what there was. */
  endRun(): void {
    this.tell({ order: 'end' });
  }

  stop(): void {
    if (this.child.connected) this.child.disconnect();
  }

  private tell(told: ToLoad): void {
    this.child.send(told);
  }
}
