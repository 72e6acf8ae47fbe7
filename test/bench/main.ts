/**
 * Puts a second through a cluster of three servers on this machine, beside bare JetStream publishes and a hand-written
 * JetStream + Postgres service on the same parts. The last line is the result as JSON.
 *
 *     npm run bench -- --quick            under a minute
 *     npm run bench -- --peer             with the hand-written service and the ratio to it
 */
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { temporaryFolder } from '../harness/index.js';
import { type CraftUnderTest, startCraft } from './craft.js';
import { Load, type Measured } from './driver.js';
import type { LoadRun } from './load.js';
import { startNatsCluster } from './nats-cluster.js';
import { createStream, startPeer } from './peer.js';
import { processorTable, type Row, resultTable } from './table.js';

interface Options {
  readonly quick?: boolean;
  readonly seconds?: number;
  readonly inFlight: number[];
  readonly acks: string[];
  readonly id: boolean;
  readonly connections: number;
  readonly keys: number;
  readonly valueBytes: number;
  readonly publish: boolean;
  readonly peer?: boolean;
  readonly cpuProfile?: string;
  readonly json?: string;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('not a positive number');
  return value;
}

function parseOptions(): Options {
  return new Command('bench')
    .option('--quick', 'short runs')
    .option('--seconds <n>', 'measured seconds of each run (default 10, quick 3)', positive)
    .option('--in-flight <list>', 'requests in flight', (text) => text.split(',').map(positive), [1, 64, 512])
    .option('--acks <list>', 'of applied, ordered, committed', (text) => text.split(','), ['applied'])
    .option('--no-id', 'commands without Nats-Msg-Id')
    .option('--connections <n>', 'NATS connections of the load', positive, 2)
    .option('--keys <n>', 'size of the key space', positive, 10_000)
    .option('--value-bytes <n>', 'size of a value', positive, 128)
    .option('--no-publish', 'leave out the bare JetStream publishes')
    .option('--peer', 'also measure JetStream R3 + consumers into three databases')
    .option('--cpu-profile <folder>', 'servers write V8 profiles here')
    .option('--json <file>', 'write the result here too')
    .parse()
    .opts<Options>();
}

type Scenario = Pick<LoadRun, 'natsUrls' | 'subject' | 'kind' | 'ack' | 'withId' | 'inFlight'>;

class Bench {
  readonly rows: Row[] = [];
  private readonly load = new Load();
  private readonly seconds: number;
  private readonly warmUpSeconds: number;

  constructor(private readonly options: Options) {
    this.seconds = options.seconds ?? (options.quick ? 3 : 10);
    this.warmUpSeconds = options.quick ? 1 : 3;
  }

  async measure(what: string, scenario: Scenario, processes: Record<string, number>): Promise<Measured> {
    const result = await this.run(scenario, processes, this.seconds);
    this.rows.push({ what, inFlight: scenario.inFlight, ...result });
    const failed = Object.keys(result.failures).length === 0 ? '' : ` failures ${JSON.stringify(result.failures)}`;
    console.log(`${what}, ${scenario.inFlight} in flight: ${result.perSecond}/s, p50 ${result.p50} ms${failed}`);
    return result;
  }

  /** Lets compilers and caches settle; not reported. Before that a server spends more time on compiling than on commands. */
  async warmUp(scenario: Scenario): Promise<number> {
    return (await this.run(scenario, {}, this.warmUpSeconds * 3)).succeeded;
  }

  stop(): void {
    this.load.stop();
  }

  private run(scenario: Scenario, processes: Record<string, number>, seconds: number): Promise<Measured> {
    const { connections, keys, valueBytes } = this.options;
    const sizes = { connections, keys, valueBytes, seconds, warmUpSeconds: this.warmUpSeconds };
    return this.load.run({ ...scenario, ...sizes }, processes);
  }
}

async function benchCraft(bench: Bench, craft: CraftUnderTest, options: Options): Promise<void> {
  const scenario = (ack: string, inFlight: number): Scenario => ({
    natsUrls: [craft.natsUrl],
    subject: `${craft.cluster}.cmd.kv.put`,
    kind: 'craft',
    ack,
    withId: options.id,
    inFlight,
  });
  let succeeded = await bench.warmUp(scenario('applied', Math.max(...options.inFlight)));
  for (const ack of options.acks) {
    for (const inFlight of options.inFlight) {
      succeeded += (await bench.measure(`craft ${ack}`, scenario(ack, inFlight), craft.processes)).succeeded;
    }
  }
  const { rows, commands, checksum } = await craft.verify(succeeded);
  console.log(`three equal databases: ${rows} rows, ${commands} commands applied, checksum ${checksum}`);
}

async function benchOthers(bench: Bench, craft: CraftUnderTest, folder: string, options: Options): Promise<void> {
  const nats = await startNatsCluster(folder);
  const most = Math.max(...options.inFlight);
  const scenario = (kind: LoadRun['kind'], subject: string, inFlight: number): Scenario => ({
    natsUrls: nats.urls,
    subject,
    kind,
    ack: 'applied',
    withId: options.id && kind === 'publish',
    inFlight,
  });
  try {
    if (options.publish) {
      for (const replicas of [1, 3]) {
        const subject = await createStream(nats, `R${replicas}`, replicas);
        for (const inFlight of options.quick ? [most] : options.inFlight) {
          const name = `jetstream R${replicas} publish`;
          await bench.measure(name, scenario('publish', subject, inFlight), nats.processes);
        }
      }
    }
    if (options.peer) {
      const subject = await createStream(nats, 'PEER', 3);
      const peer = await startPeer(nats, 'PEER', craft.postgresUrl);
      try {
        const processes = { ...nats.processes, ...peer.processes, postgres: craft.processes['postgres'] ?? 0 };
        await bench.warmUp(scenario('peer', subject, most));
        for (const inFlight of options.quick ? [most] : options.inFlight) {
          await bench.measure('jetstream + consumers', scenario('peer', subject, inFlight), processes);
        }
        await peer.verify();
      } finally {
        await peer.stop();
      }
    }
  } finally {
    await nats.stop();
  }
}

/** craft (applied) against the hand-written service, by requests in flight. */
function ratios(rows: readonly Row[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const peer of rows.filter((row) => row.what === 'jetstream + consumers')) {
    const craft = rows.find((row) => row.what === 'craft applied' && row.inFlight === peer.inFlight);
    if (craft !== undefined) found[peer.inFlight] = Math.round((craft.perSecond / peer.perSecond) * 100) / 100;
  }
  return found;
}

async function main(): Promise<void> {
  const options = parseOptions();
  const { path: folder, remove } = await temporaryFolder('bench');
  const bench = new Bench(options);
  const craft = await startCraft(join(folder, 'craft'), options.cpuProfile);
  try {
    await benchCraft(bench, craft, options);
    await craft.stopServers();
    if (options.publish || options.peer) await benchOthers(bench, craft, join(folder, 'nats'), options);
  } finally {
    bench.stop();
    await craft.stop();
    await remove();
  }
  const result = {
    date: new Date().toISOString(),
    node: process.version,
    processors: cpus().length,
    withId: options.id,
    ratioToPeer: ratios(bench.rows),
    runs: bench.rows,
  };
  console.log(`\n${resultTable(bench.rows)}\n\n${processorTable(bench.rows)}\n`);
  for (const [inFlight, ratio] of Object.entries(result.ratioToPeer)) {
    console.log(`craft applied / jetstream + consumers at ${inFlight} in flight: ${ratio}`);
  }
  const text = JSON.stringify(result);
  if (options.json !== undefined) await writeFile(options.json, `${text}\n`);
  console.log(text);
}

await main();
