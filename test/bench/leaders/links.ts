/**
 * The limited links, as the benchmark has them in hand; the proxies run in a process of their own.
 */
import { ToldProcess } from '../told-process.js';
import type { LinkCounts } from './limited-link.js';
import type { FromLinks, ToLinks } from './link-process.js';

export class Links {
  private constructor(private readonly process: ToldProcess<ToLinks, FromLinks>) {}

  static async start(): Promise<Links> {
    return new Links(await ToldProcess.start<ToLinks, FromLinks>(new URL('./link-process.js', import.meta.url)));
  }

  get pid(): number {
    return this.process.pid;
  }

  /**
   * The link of one server to the NATS server at a port of this machine; resolves with the port to
   * connect to.
   */
  async open(server: string, targetPort: number, cluster: string): Promise<number> {
    const answer = await this.process.tell({ type: 'open', server, targetPort, cluster });
    if (answer.type !== 'opened') throw new Error(`a link answered ${answer.type}`);
    return answer.port;
  }

  /** Of every link, in each direction; undefined: no limit. */
  async limit(bytesPerSecond: number | undefined): Promise<void> {
    await this.process.tell(bytesPerSecond === undefined ? { type: 'limit' } : { type: 'limit', bytesPerSecond });
  }

  /** By server, since the links were opened. */
  async counts(): Promise<Readonly<Record<string, LinkCounts>>> {
    const answer = await this.process.tell({ type: 'count' });
    if (answer.type !== 'counted') throw new Error(`the links answered ${answer.type}`);
    return answer.counts;
  }

  stop(): Promise<void> {
    return this.process.stop();
  }
}
