/** Drives a load process through one run and watches what the processes around it use meanwhile. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { FromLoad, LoadResult, LoadRun } from './load.js';
import { type Processes, processorPercent, processorSeconds } from './processes.js';

export interface Measured extends LoadResult {
  /** Percent of one processor while measuring, by name of process. */
  readonly processors: Readonly<Record<string, number>>;
}

export class Load {
  private readonly child: ChildProcess;

  constructor() {
    this.child = fork(fileURLToPath(new URL('./load.js', import.meta.url)));
  }

  /** Rejects when the load process cannot go on. */
  run(options: LoadRun, processes: Processes): Promise<Measured> {
    const watched = { ...processes, load: this.child.pid ?? 0 };
    return new Promise((resolve, reject) => {
      let before = processorSeconds(watched);
      let started = performance.now();
      let processors: Record<string, number> = {};
      const onExit = () => reject(new Error('the load process ended'));
      const onMessage = (message: FromLoad) => {
        if (message.event === 'measuring') {
          before = processorSeconds(watched);
          started = performance.now();
        } else if (message.event === 'measured') {
          processors = processorPercent(before, processorSeconds(watched), (performance.now() - started) / 1000);
        } else {
          this.child.off('message', onMessage);
          this.child.off('exit', onExit);
          if (message.event === 'failed') reject(new Error(message.message));
          else resolve({ ...message.result, processors });
        }
      };
      this.child.on('message', onMessage);
      this.child.once('exit', onExit);
      this.child.send(options);
    });
  }

  stop(): void {
    if (this.child.connected) this.child.disconnect();
  }
}
