/** The lines between the sites, as the benchmark has them in hand; the proxies run in a process of their own. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { FromLines, ToLines } from './delay-process.js';
import type { Line } from './delay-proxy.js';

export class Lines {
  private readonly names: string[] = [];
  private last: Promise<unknown> = Promise.resolve();

  private constructor(private readonly child: ChildProcess) {}

  static async start(): Promise<Lines> {
    const child = fork(fileURLToPath(new URL('./delay-process.js', import.meta.url)), { stdio: 'inherit' });
    await once(child, 'message');
    return new Lines(child);
  }

  /** A line of this name to a port of this machine; resolves with the port to connect to. */
  async open(name: string, targetPort: number, line: Line): Promise<number> {
    this.names.push(name);
    const { type, ...opened } = await this.tell({ type: 'open', name, targetPort, line });
    if (type !== 'opened' || !('port' in opened)) throw new Error(`a line answered ${type}`);
    return opened.port;
  }

  /** All lines whose name has this site in it are cut, or healed. */
  async cut(site: string): Promise<void> {
    await this.tell({ type: 'cut', names: this.of(site) });
  }

  async heal(site: string): Promise<void> {
    await this.tell({ type: 'heal', names: this.of(site) });
  }

  /** How late pieces arrived, beyond their delay (milliseconds). */
  async lateness(): Promise<{ readonly p50: number; readonly p99: number }> {
    const answer = await this.tell({ type: 'lateness' });
    if (answer.type !== 'lateness') throw new Error(`the lines answered ${answer.type}`);
    return answer;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.disconnect();
    await exit;
  }

  private of(site: string): string[] {
    return this.names.filter((name) => name.split('-').includes(site));
  }

  /** One at a time: answers have no names. */
  private tell(message: ToLines): Promise<FromLines> {
    const answer = this.last.then(async () => {
      const heard = once(this.child, 'message');
      this.child.send(message);
      const [said] = await heard;
      return said as FromLines;
    });
    this.last = answer.catch(() => undefined);
    return answer;
  }
}
