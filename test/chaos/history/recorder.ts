/** Writes a history down while it happens: one recorder, one monotonic clock, one file. */
import { createWriteStream, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { formatEvent, type HistoryEvent, type Outcome, type Reply, type Request } from './format.js';

/** Ends an operation; to be called at most once, when the reply is there. */
export type Complete = (outcome: Outcome, reply?: Reply) => void;

export class Recorder {
  readonly events: HistoryEvent[] = [];
  private readonly startedMs = performance.now();
  private readonly file: WriteStream;

  /** Overwrites the file. `print` is told each note as well. */
  constructor(
    readonly path: string,
    private readonly print: (line: string) => void = () => undefined,
  ) {
    this.file = createWriteStream(path);
  }

  /** Microseconds since this recorder began; never goes back. */
  get nowUs(): number {
    return Math.floor((performance.now() - this.startedMs) * 1_000);
  }

  /** To be called before the request is sent. */
  invoke(process: number, request: Request): Complete {
    this.add({ type: 'invoke', process, time: this.nowUs, ...request });
    return (type, reply = {}) => {
      this.add({ type, process, time: this.nowUs, ...request, ...reply });
    };
  }

  /** A word for the human reader. */
  note(text: string): void {
    const time = this.nowUs;
    this.add({ type: 'info', time, text });
    this.print(`${(time / 1e6).toFixed(3).padStart(8)} s  ${text}`);
  }

  /** Resolves when the file is complete. */
  async close(): Promise<void> {
    this.file.end();
    await finished(this.file);
  }

  private add(event: HistoryEvent): void {
    this.events.push(event);
    this.file.write(`${formatEvent(event)}\n`);
  }
}
