/** The proxy under far sites and narrow links: delay, rate, back-pressure, ends, cuts. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { Direction, type Line } from '../../bench/proxy/direction.js';
import { LineProxy } from '../../bench/proxy/line-proxy.js';
import { Samples } from '../../bench/summary.js';
import { eventually } from '../../harness/index.js';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const AT_ONCE: Line = { delayMs: 0, jitterMs: 0, heldBytesMax: 10_000 };

/** What comes out of a direction; it takes nothing until it is told to. */
class Target extends Duplex {
  readonly received: { readonly bytes: number; readonly atMs: number }[] = [];
  private readonly waiting: (() => void)[] = [];
  constructor(private isReading = true) {
    super({ writableHighWaterMark: 4_096 });
  }
  get bytes(): number {
    return this.received.reduce((sum, { bytes }) => sum + bytes, 0);
  }
  readOn(): void {
    this.isReading = true;
    for (const done of this.waiting.splice(0)) done();
  }
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.received.push({ bytes: chunk.length, atMs: performance.now() });
    if (this.isReading) done();
    else this.waiting.push(done);
  }
}

function joined(direction: Direction, isReading = true) {
  const from = new PassThrough({ highWaterMark: 1_000_000 });
  const to = new Target(isReading);
  let taken = 0;
  direction.join(from, to, (chunk) => {
    taken += chunk.length;
  });
  return { from, to, taken: () => taken };
}

describe('one direction of a line', () => {
  it('is not read while its connection holds more than it may, and is again later', async () => {
    const direction = new Direction(AT_ONCE);
    direction.limit(1);
    const { from, to, taken } = joined(direction);
    for (let at = 0; at < 100; at += 1) from.write(Buffer.alloc(1_000));
    await eventually('the source is held back', () => from.isPaused());
    // The burst that passed at once, what may be held, and the piece that was too much.
    expect(taken()).toBeLessThanOrEqual(4_096 + 10_000 + 1_000);
    direction.limit(undefined);
    await eventually('all of it passes', () => to.bytes === 100_000);
    expect([from.isPaused(), taken()]).toEqual([false, 100_000]);
  });
  it('holds back a sender whose receiver does not read, and no other one', async () => {
    const direction = new Direction(AT_ONCE);
    const stuck = joined(direction, false);
    const other = joined(direction);
    for (let at = 0; at < 100; at += 1) stuck.from.write(Buffer.alloc(1_000));
    await eventually('the source is held back', () => stuck.from.isPaused());
    expect(stuck.taken()).toBeLessThanOrEqual(4_096 + 10_000 + 2_000);
    for (let at = 0; at < 100; at += 1) other.from.write(Buffer.alloc(1_000));
    await eventually('the others pass', () => other.to.bytes === 100_000);
    stuck.to.readOn();
    await eventually('all of it passes', () => stuck.to.bytes === 100_000);
  });
  it('brings each piece after the delay, in order, and counts how late it was', async () => {
    const lateness = new Samples();
    const direction = new Direction({ delayMs: 20, jitterMs: 10, heldBytesMax: 10_000 }, lateness);
    const { from, to } = joined(direction);
    const startMs = performance.now();
    for (let bytes = 1; bytes <= 50; bytes += 1) from.write(Buffer.alloc(bytes));
    await eventually('all of it passes', () => to.bytes === 1_275);
    expect(to.received.map(({ bytes }) => bytes)).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
    expect(Math.min(...to.received.map(({ atMs }) => atMs - startMs))).toBeGreaterThanOrEqual(20);
    const late = lateness.take();
    expect([late.length, Math.min(...late) >= 0]).toEqual([50, true]);
    lateness.clear();
    expect(lateness.take()).toHaveLength(0);
  });
  it('may have a delay and a rate', async () => {
    const direction = new Direction({ delayMs: 30, jitterMs: 0, heldBytesMax: 1_000_000 });
    direction.limit(1_000_000);
    const { from, to } = joined(direction);
    const startMs = performance.now();
    from.write(Buffer.alloc(120_000));
    await eventually('all of it passes', () => to.bytes === 120_000);
    const [first] = to.received;
    expect((first?.atMs ?? 0) - startMs).toBeGreaterThanOrEqual(30);
    // 20 ms of it may pass as a burst.
    expect((to.received.at(-1)?.atMs ?? 0) - startMs).toBeGreaterThanOrEqual(120);
    expect(direction.counts.bytes).toBe(120_000);
  });
});

describe('the proxy', () => {
  const opened = async (line: Line, onSocket: (socket: Socket) => void): Promise<LineProxy> => {
    const server = createServer({ allowHalfOpen: true }, (socket) => onSocket(socket.on('error', () => undefined)));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(async () => server.close());
    const proxy = await LineProxy.open((server.address() as AddressInfo).port, line);
    cleanups.push(() => proxy.close());
    return proxy;
  };
  it('brings what was sent before an end, also when the other side has ended first', async () => {
    let received = '';
    let hasEnded = false;
    const proxy = await opened({ ...AT_ONCE, delayMs: 20 }, (socket) => {
      socket.end();
      socket.on('data', (chunk) => {
        received += chunk;
      });
      socket.on('end', () => {
        hasEnded = true;
      });
    });
    const client = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true });
    await once(client.resume(), 'end');
    client.end('the last words');
    await once(client, 'close');
    await eventually('the end arrives', () => hasEnded);
    expect(received).toBe('the last words');
  });
  it('breaks connections when it is cut, and takes new ones when it is healed', async () => {
    const proxy = await opened(AT_ONCE, (socket) => socket.pipe(socket));
    const echoes = async (): Promise<boolean> => {
      const client = connect(proxy.port, '127.0.0.1');
      const broken = new Promise<boolean>((resolve) => client.on('error', () => resolve(false)));
      client.write('x');
      const isAnswered = await Promise.race([
        broken,
        once(client, 'data').then(
          () => true,
          () => false,
        ),
      ]);
      client.destroy();
      return isAnswered;
    };
    expect(await echoes()).toBe(true);
    const client = connect(proxy.port, '127.0.0.1');
    client.write('x');
    await once(client, 'data');
    const closed = new Promise((resolve) => client.on('error', () => undefined).on('close', resolve));
    proxy.cut();
    await closed;
    expect(await echoes()).toBe(false);
    proxy.heal();
    expect(await echoes()).toBe(true);
  });
});
