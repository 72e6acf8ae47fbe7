/**
 * The lines between the sites, as the benchmark has them in hand; the proxies run in a process of
 * their own.
 */
import { ToldProcess } from '../told-process.js';
import type { Delay, FromLines, ToLines } from './delay-process.js';
import type { Lateness } from './lateness.js';

export class Lines {
  private readonly names: string[] = [];

  private constructor(private readonly process: ToldProcess<ToLines, FromLines>) {}

  static async start(): Promise<Lines> {
    return new Lines(await ToldProcess.start<ToLines, FromLines>(new URL('./delay-process.js', import.meta.url)));
  }

  /** A line of this name to a port of this machine; resolves with the port to connect to. */
  async open(name: string, targetPort: number, delay: Delay): Promise<number> {
    this.names.push(name);
    const { type, ...opened } = await this.process.tell({ type: 'open', name, targetPort, delay });
    if (type !== 'opened' || !('port' in opened)) throw new Error(`a line answered ${type}`);
    return opened.port;
  }

  /** All lines whose name has this site in it are cut, or healed. */
  async cut(site: string): Promise<void> {
    await this.process.tell({ type: 'cut', names: this.of(site) });
  }

  async heal(site: string): Promise<void> {
    await this.process.tell({ type: 'heal', names: this.of(site) });
  }

  /** How late pieces arrived since this was asked last. */
  async lateness(): Promise<Lateness> {
    const answer = await this.process.tell({ type: 'lateness' });
    if (answer.type !== 'lateness') throw new Error(`the lines answered ${answer.type}`);
    return { p50: answer.p50, p99: answer.p99 };
  }

  stop(): Promise<void> {
    return this.process.stop();
  }

  private of(site: string): string[] {
    return this.names.filter((name) => name.split('-').includes(site));
  }
}
