/**
 * Narrow links and little processor time: the token bucket, the meter, the proxy, bounds, tables.
 */
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { copiesOf, inFlightFor, largestShare, linkBounds, processorBound } from '../../bench/leaders/bounds.js';
import { LimitedLink } from '../../bench/leaders/limited-link.js';
import { NatsMeter } from '../../bench/leaders/nats-meter.js';
import { ProcessorLimits } from '../../bench/leaders/processor-limit.js';
import { steady } from '../../bench/leaders/steady.js';
import {
  bytesTable,
  type LinkRow,
  leadersPicture,
  linkTable,
  type ProcessorRow,
  processorTable,
} from '../../bench/leaders/table.js';
import { TokenBucket } from '../../bench/proxy/token-bucket.js';
import type { Lines } from '../../bench/report/table.js';
import { eventually, temporaryFolder } from '../../harness/index.js';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe('a token bucket', () => {
  it('lets the burst pass, then what comes in', () => {
    const bucket = new TokenBucket(1_000, 100, 0);
    expect([bucket.tryTake(60, 0), bucket.tryTake(60, 0), bucket.waitMs(60)]).toEqual([true, false, 20]);
    expect([bucket.tryTake(60, 19), bucket.tryTake(60, 20), bucket.waitMs(60)]).toEqual([false, true, 60]);
  });
  it('saves no more than the burst while nothing wants to pass, and that is no loss', () => {
    const bucket = new TokenBucket(1_000, 100, 0);
    expect([bucket.tryTake(100, 5_000), bucket.tryTake(1, 5_000), bucket.lostBytes]).toEqual([true, false, 0]);
  });
  it('counts what came in while something waited and it was full', () => {
    const bucket = new TokenBucket(1_000, 100, 0);
    expect(bucket.tryTake(100, 0)).toBe(true);
    bucket.onWaited(130);
    expect([bucket.lostBytes, bucket.tryTake(100, 130), bucket.waitMs(100)]).toEqual([30, true, 100]);
  });
  it('refuses what could never pass, and limits that are none', () => {
    expect(() => new TokenBucket(1_000, 100, 0).tryTake(101, 0)).toThrow(RangeError);
    expect(() => new TokenBucket(0, 100, 0)).toThrow(RangeError);
  });
});

describe('the meter', () => {
  const said = [
    'CONNECT {"verbose":false}\r\n',
    'PUB craft.rpc.s2 5\r\nPUB x\r\n',
    'HPUB _INBOX.a.b 12 14\r\nNATS/1.0\r\n\r\nhi\r\n',
    'PUB craft.log.s1 _INBOX.r 3\r\n\n\n\n\r\n',
    'PUB craftier.log.s1 0\r\n\r\n',
  ];
  const expected = {
    other: (said[0]?.length ?? 0) + (said[4]?.length ?? 0),
    replication: said[1]?.length,
    answers: said[2]?.length,
    'merged log': said[3]?.length,
  };
  it.each([1, 2, 7, 1_000])('counts all bytes by kind, cut into pieces of %i', (size) => {
    const counted: Record<string, number> = {};
    const meter = new NatsMeter('craft', (kind, bytes) => {
      counted[kind] = (counted[kind] ?? 0) + bytes;
    });
    const all = Buffer.from(said.join(''));
    for (let at = 0; at < all.length; at += size) meter.take(all.subarray(at, at + size));
    expect(counted).toEqual(expected);
  });
  it('refuses what is not the protocol of NATS', () => {
    const meter = (): NatsMeter => new NatsMeter('craft', () => undefined);
    expect(() => meter().take(Buffer.from('PUB craft.rpc.s1 many\r\n'))).toThrow('protocol of NATS');
    expect(() => meter().take(Buffer.alloc(100_000, 'x'))).toThrow('without an end');
  });
});

describe('a limited link', () => {
  it('brings all bytes, no faster than it may, and counts them', async () => {
    const sink = createServer((socket) => {
      // The link breaks its connections when it is closed.
      socket.on('error', () => undefined).pipe(socket);
    });
    sink.listen(0, '127.0.0.1');
    await once(sink, 'listening');
    cleanups.push(async () => sink.close());
    const link = await LimitedLink.open((sink.address() as AddressInfo).port, 'craft');
    cleanups.push(() => link.close());
    link.limit(1_000_000);
    const socket = connect(link.port, '127.0.0.1');
    cleanups.push(async () => socket.destroy());
    const payload = Buffer.alloc(150_000, '.');
    const sent = Buffer.concat([Buffer.from(`PUB craft.log.s1 ${payload.length}\r\n`), payload, Buffer.from('\r\n')]);
    const received: Buffer[] = [];
    let length = 0;
    socket.on('data', (chunk) => {
      received.push(chunk);
      length += chunk.length;
    });
    const startMs = performance.now();
    socket.write(sent);
    await eventually('all of it came back', async () => length === sent.length, { timeoutMs: 20_000, everyMs: 5 });
    // The burst of 20 ms passes at once.
    expect(performance.now() - startMs).toBeGreaterThan(120);
    expect(Buffer.concat(received).equals(sent)).toBe(true);
    const { sent: there, received: back, sentByKind } = link.counts;
    expect([there.bytes, back.bytes, sentByKind['merged log']]).toEqual([sent.length, sent.length, sent.length]);
  });
});

describe('limits of processor time', () => {
  const mounted = async (files: Readonly<Record<string, string>>): Promise<string> => {
    const { path, remove } = await temporaryFolder('control-groups');
    cleanups.push(remove);
    await mkdir(join(path, 'cpu'));
    for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text);
    return path;
  };
  const written = async (folder: string): Promise<Record<string, string>> => {
    const [group = ''] = (await readdir(folder)).filter((name) => name.startsWith('craft-bench-'));
    const names = await readdir(join(folder, group));
    return Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await readFile(join(folder, group, name), 'utf8')] as const)),
    );
  };
  it('are quotas of control groups, version 1', async () => {
    const root = await mounted({ 'cpu/cpu.cfs_quota_us': '-1' });
    await (await ProcessorLimits.find(root))?.limit(4_711, 0.15);
    expect(await written(join(root, 'cpu'))).toEqual({
      'cpu.cfs_period_us': '10000',
      'cpu.cfs_quota_us': '1500',
      'cgroup.procs': '4711',
    });
  });
  it('are quotas of control groups, version 2', async () => {
    const root = await mounted({ 'cgroup.subtree_control': 'io cpu memory\n' });
    await (await ProcessorLimits.find(root))?.limit(4_711, 1);
    expect(await written(root)).toEqual({ 'cpu.max': '10000 10000', 'cgroup.procs': '4711' });
  });
  it('are not found without a controller, and refused when the kernel would refuse them', async () => {
    expect(await ProcessorLimits.find(await mounted({ 'cgroup.subtree_control': 'cpuset memory' }))).toBeUndefined();
    const limits = await ProcessorLimits.find(await mounted({ 'cpu/cpu.cfs_quota_us': '-1' }));
    await expect(limits?.limit(1, 0.05)).rejects.toThrow(RangeError);
  });
});

describe('bounds', () => {
  it('count the copies of a command on the busiest link', () => {
    expect(copiesOf({ servers: 3, groups: 1 }, 'separate', true)).toBe(3);
    expect(copiesOf({ servers: 3, groups: 3 }, 'separate', true)).toBeCloseTo(5 / 3);
    expect(copiesOf({ servers: 5, groups: 3 }, 'separate', true)).toBeCloseTo(7 / 3);
    expect(copiesOf({ servers: 5, groups: 1 }, 'fan-out', true)).toBe(2);
    // What a server receives is a copy, too.
    expect(copiesOf({ servers: 3, groups: 3 }, 'separate', false)).toBe(1);
    expect(copiesOf({ servers: 1, groups: 1 }, 'fan-out', true)).toBe(1);
  });
  it('give the server with most groups its share', () => {
    expect([1, 3, 4, 6].map((groups) => largestShare({ servers: 3, groups }))).toEqual([1, 1 / 3, 0.5, 1 / 3]);
  });
  it('are commands a second', () => {
    expect(linkBounds({ servers: 5, groups: 1 }, 1_000, 1_000_000)).toEqual({
      allCopies: 200,
      withoutMergedLog: 250,
      withFanOut: 500,
    });
    const costs = { leaderUs: 200, followerUs: 50 };
    expect(processorBound({ servers: 3, groups: 1 }, costs, 0.1)).toBe(500);
    expect(processorBound({ servers: 3, groups: 3 }, costs, 0.1)).toBeCloseTo(1_000);
  });
  it('say how many requests keep a link busy', () => {
    const one = { servers: 3, groups: 1 };
    expect([inFlightFor(one, 488.2, 150), inFlightFor(one, 3, 150)]).toEqual([74, 8]);
    expect(inFlightFor({ servers: 3, groups: 6 }, 100, 150)).toBe(24);
  });
});

describe('a measurement with leaders at home', () => {
  const run = async (moves: readonly boolean[], homes: readonly boolean[] = []) => {
    const order: string[] = [];
    const measured = await steady({
      triesMax: 3,
      async untilHome() {
        if (homes[order.filter((one) => one === 'home').length] === false) throw new Error('not at home');
        order.push('home');
      },
      async measure() {
        order.push('measured');
        return { haveLeadersMoved: moves[order.filter((one) => one === 'measured').length - 1] ?? false };
      },
      tell: () => undefined,
    });
    return { measured, order: order.join(' ') };
  };
  it('is one measurement when leadership stays where it is', async () => {
    const { measured, order } = await run([false]);
    expect([measured, order]).toEqual([{ haveLeadersMoved: false, repeats: 0 }, 'home measured']);
  });
  it('is taken again, from home, when leadership has moved meanwhile', async () => {
    const { measured, order } = await run([true, false]);
    expect([measured, order]).toEqual([{ haveLeadersMoved: false, repeats: 1 }, 'home measured home measured']);
  });
  it('is kept, and says so, when leadership moves each time', async () => {
    const { measured, order } = await run([true, true, true, false]);
    expect(measured).toEqual({ haveLeadersMoved: true, repeats: 2 });
    expect(order).toBe('home measured home measured home measured');
  });
  it('is kept when leaders do not come home again, and not taken when they never were there', async () => {
    const { measured } = await run([true], [true, false]);
    expect(measured).toEqual({ haveLeadersMoved: true, repeats: 0 });
    await expect(run([], [false])).rejects.toThrow('not at home');
  });
});

describe('the output', () => {
  const one: LinkRow = {
    servers: 3,
    groups: 1,
    valueBytes: 1_024,
    inFlight: 74,
    perSecond: 425,
    p50: 175,
    p99: 231,
    failures: 0,
    haveLeadersMoved: false,
    repeats: 0,
    machineUse: 0.47,
    othersUse: 0.02,
    bytesPerSecond: 1_500_000,
    bounds: { allCopies: 488, withoutMergedLog: 732, withFanOut: 733 },
    linkUse: 0.998,
    sentBytes: { replication: 2_296, 'merged log': 1_138, answers: 128, other: 0.4 },
    receivedBytes: 1_181,
    passed: 0.9996,
  };
  const three: LinkRow = {
    ...one,
    groups: 3,
    perSecond: 700,
    bounds: { ...one.bounds, allCopies: 879 },
    failures: 2,
    haveLeadersMoved: true,
    repeats: 2,
  };
  const slow: ProcessorRow = { ...one, share: 0.15, shareUse: 0.97, costsUs: [94, 80, 86], bound: 1_584 };
  const cells = (table: Lines, line: number): readonly string[] => table[line] ?? [];

  it('sets throughput beside the bound and beside one group', () => {
    const table = linkTable([one, three]);
    expect(cells(table, 1).slice(5, 10)).toEqual(['425', '488', '0.87', 'yes', '1.00']);
    expect(cells(table, 2).slice(5, 10)).toEqual(['700', '879', '0.80', 'no', '1.65']);
    expect(cells(table, 2).at(-1)).toBe('2, 2 dropped, leaders moved');
  });
  it('says what the bytes are for', () => {
    expect(cells(bytesTable([one]), 1)).toEqual([
      '3',
      '1',
      '1024',
      '2296',
      '1138',
      '128',
      '0.4',
      '3562',
      '1181',
      '100.0 %',
    ]);
  });
  it('has no bound of processor time without the costs of one group', () => {
    expect(cells(processorTable([slow]), 1).slice(6, 9)).toEqual(['1584', '0.27', 'no']);
    expect(cells(processorTable([{ ...slow, bound: undefined }]), 1).slice(6, 9)).toEqual(['', '', '']);
  });
  it('is a picture with a panel for each size of value, and one for processors', () => {
    const about = { date: '2026-01-31T12:30:00Z', versions: { craft: '1' }, machine: { cores: 2 } };
    const large = { ...one, valueBytes: 16_384, bytesPerSecond: 6_000_000 };
    const svg = leadersPicture({ ...about, links: [one, three, large], processors: [slow] });
    for (const text of ['links of 1.50 MB/s, values of 1024 bytes', 'links of 6.00 MB/s', '0.15 of a processor']) {
      expect(svg).toContain(text);
    }
    expect(svg.match(/1 group: bound by arithmetic<\/text>/g)).toHaveLength(1);
  });
});
