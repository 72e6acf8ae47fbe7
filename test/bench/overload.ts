/**
 * craft under more than it can do.
 *
 *     npm run bench:overload -- --seconds 30
 *
 * First its peak: closed loops, the best of several. Then an open load of four times that: what is
 * still done, what is refused, how late answers are, and what memory it takes. At last one client
 * that sends expensive commands, all of which are refused, beside a few ordinary requests: whether
 * leaders keep their leaderships, and how long nothing is answered.
 */
import { cpus } from 'node:os';
import { Command } from 'commander';
import { connect } from 'nats';
import { Requester } from '../../shared/client/requester.js';
import { ask } from '../chaos/request.js';
import { eventually } from '../harness/index.js';
import { LoadProcess, type Measured, type Watched } from './load/driver.js';
import type { Load, Target } from './load/protocol.js';
import {
  type CraftOptions,
  DEFAULT_WORKLOAD,
  listOf,
  positive,
  positiveInteger,
  stageOptions,
  withCraftOptions,
} from './options.js';
import { residentMiB } from './processes.js';
import { align, countsOf } from './report/table.js';
import { type CraftSystem, startCraft } from './systems/craft.js';
import { termsOf } from './systems/leaders.js';
import { Stage } from './systems/stage.js';

interface Options extends CraftOptions {
  readonly inFlight: readonly number[];
  readonly factor: number;
  readonly seconds: number;
  readonly peakSeconds: number;
  readonly refusedKeys: number;
  readonly refusedPerSecond: number;
  readonly besides: number;
}

const WARM_UP_SECONDS = 3;
const MEMORY_EVERY_MS = 1_000;
const QUICK_MS = 1_000;
const RECOVERY_MS_MAX = 300_000;

function parseOptions(): Options {
  return withCraftOptions(new Command('overload'))
    .option(
      '--in-flight <list>',
      'closed loops, of which the best is the peak',
      listOf(positiveInteger),
      [256, 512, 1_024, 2_048, 4_096],
    )
    .option('--factor <n>', 'how many times the peak is offered', positive, 4)
    .option('--seconds <n>', 'of overload, and of expensive commands', positive, 30)
    .option('--peak-seconds <n>', 'of each closed loop', positive, 8)
    .option(
      '--refused-keys <n>',
      'unknown members of each expensive command; 20,000 are 208 KB',
      positiveInteger,
      20_000,
    )
    .option('--refused-per-second <n>', 'expensive commands a second', positive, 150)
    .option('--besides <n>', 'ordinary requests in flight beside them', positiveInteger, 8)
    .parse()
    .opts<Options>();
}

class Overload {
  private readonly load = new LoadProcess();
  private readonly target: Target;
  private readonly subject: string;
  private succeeded = 0;

  constructor(
    private readonly craft: CraftSystem,
    private readonly options: Options,
  ) {
    this.subject = `${craft.cluster.cluster}.cmd.kv.put`;
    this.target = { kind: 'craft', urls: craft.nats.urls, subject: this.subject, ack: 'applied' };
  }

  /** Puts a second, of the best closed loop. */
  async peak(): Promise<number> {
    let best = 0;
    for (const inFlight of this.options.inFlight) {
      const measured = await this.run({ kind: 'closed', inFlight }, this.options.peakSeconds, WARM_UP_SECONDS);
      console.log(`${inFlight} in flight: ${measured.perSecond}/s, p99 ${measured.p99} ms${failed(measured)}`);
      best = Math.max(best, measured.perSecond);
    }
    return best;
  }

  async overload(peak: number): Promise<void> {
    const { factor, seconds } = this.options;
    const perSecond = Math.round(factor * peak);
    console.log(`\n${perSecond} puts a second offered for ${seconds} s, ${factor} times the peak of ${peak}/s`);
    const memory = new MemoryWatch(this.craft);
    const before = await this.terms();
    const measured = await this.run({ kind: 'open', perSecond }, seconds, 0);
    const samples = memory.stop();
    const { offered, due, failures, p50, p99, gaps, processorSeconds } = measured;
    const part = (100 * measured.perSecond) / peak;
    console.log(`done: ${measured.perSecond}/s, ${part.toFixed(0)} % of the peak`);
    if (offered < due) console.log(`the load could send only ${offered} of ${due}`);
    const processors = Object.entries(processorSeconds).map(([name, used]) => `${name} ${(used / seconds).toFixed(2)}`);
    console.log(`processors, of the ${cpus().length} that all share with the load: ${processors.join(', ')}`);
    console.log(`not done: ${countsOf(failures)}`);
    console.log(`accepted: p50 ${p50} ms, p99 ${p99} ms; longest time without an answer ${longest(gaps)} ms`);
    console.log(`elections: ${(await this.terms()) - before}`);
    console.log(`\n${memoryTable(samples)}`);
  }

  /**
   * How long what was taken in keeps the cluster busy; then a closed loop again: nothing of the
   * overload may stay.
   */
  async afterwards(peak: number): Promise<void> {
    const busyMs = await this.untilQuick();
    console.log(`\na put is answered within ${QUICK_MS} ms again after ${(busyMs / 1_000).toFixed(1)} s`);
    const inFlight = this.options.inFlight[0] ?? 1;
    const measured = await this.run({ kind: 'closed', inFlight }, this.options.peakSeconds, WARM_UP_SECONDS);
    const part = (100 * measured.perSecond) / peak;
    console.log(`afterwards, ${inFlight} in flight: ${measured.perSecond}/s, ${part.toFixed(0)} % of the peak`);
  }

  async expensive(): Promise<void> {
    const { refusedKeys, refusedPerSecond, besides, seconds } = this.options;
    const ordinary: Load = { kind: 'closed', inFlight: besides };
    const alone = await this.run(ordinary, this.options.peakSeconds, WARM_UP_SECONDS);
    console.log(`\n${besides} in flight alone: ${alone.perSecond}/s, longest gap ${longest(alone.gaps)} ms`);
    console.log(`with ${refusedPerSecond} refused commands of ${refusedKeys} unknown members a second, ${seconds} s:`);
    const other = new LoadProcess();
    try {
      const before = await this.terms();
      const [measured, refused] = await Promise.all([
        this.run(ordinary, seconds, 0),
        other.run(
          {
            target: { kind: 'refused', urls: this.craft.nats.urls, subject: this.subject, keys: refusedKeys },
            workload: { ...DEFAULT_WORKLOAD, connections: 1 },
            load: { kind: 'open', perSecond: refusedPerSecond },
            warmUpSeconds: 0,
            seconds,
          },
          { processes: {}, monitors: [] },
        ),
      ]);
      const { perSecond, p99, gaps } = measured;
      console.log(`ordinary: ${perSecond}/s, p99 ${p99} ms, longest gap ${longest(gaps)} ms${failed(measured)}`);
      console.log(`expensive: ${countsOf(refused.failures)} of ${refused.offered}`);
      console.log(`elections: ${(await this.terms()) - before}`);
    } finally {
      other.stop();
    }
  }

  /** Resolves, with how long it took (milliseconds), when one put by itself is answered quickly. */
  private async untilQuick(): Promise<number> {
    const connection = await connect({ servers: [...this.craft.nats.urls], name: 'bench probe' });
    const requester = new Requester(connection).start();
    const startMs = performance.now();
    const isQuick = async (): Promise<boolean> => {
      const input = { key: 'probe', value: 1 };
      const answer = await ask(requester, { subject: this.subject, input }, QUICK_MS);
      return answer.outcome === 'ok';
    };
    try {
      await eventually('the cluster answers quickly', isQuick, { timeoutMs: RECOVERY_MS_MAX });
      return performance.now() - startMs;
    } finally {
      requester.close();
      await connection.close();
    }
  }

  verify(): Promise<string> {
    return this.craft.verify(this.succeeded);
  }

  stop(): void {
    this.load.stop();
  }

  private async run(load: Load, seconds: number, warmUpSeconds: number): Promise<Measured> {
    const watched: Watched = { processes: this.craft.processes(), monitors: [] };
    const { target } = this;
    const measured = await this.load.run({ target, workload: DEFAULT_WORKLOAD, load, warmUpSeconds, seconds }, watched);
    this.succeeded += measured.succeeded;
    return measured;
  }

  /** The terms of all groups summed up: how many elections there have been. */
  private async terms(): Promise<number> {
    return (await termsOf(this.craft.cluster)).reduce((sum, term) => sum + term, 0);
  }
}

type MemorySamples = ReadonlyMap<string, readonly number[]>;

/** Resident memory of each craft process (MiB), again and again. */
class MemoryWatch {
  private readonly samples = new Map<string, number[]>();
  private readonly timer: NodeJS.Timeout;

  constructor(private readonly craft: CraftSystem) {
    this.look();
    this.timer = setInterval(() => this.look(), MEMORY_EVERY_MS);
  }
  stop(): MemorySamples {
    clearInterval(this.timer);
    this.look();
    return this.samples;
  }
  private look(): void {
    for (const [name, pid] of Object.entries(this.craft.cluster.pids)) {
      const values = this.samples.get(name) ?? [];
      values.push(Math.round(residentMiB(pid)));
      this.samples.set(name, values);
    }
  }
}

/** So many columns of the time that it took. */
const MEMORY_COLUMNS = 10;

function memoryTable(samples: MemorySamples): string {
  const rows = [...samples].map(([name, values]) => {
    const step = (values.length - 1) / (MEMORY_COLUMNS - 1);
    const shown = Array.from({ length: MEMORY_COLUMNS }, (_, at) => String(values[Math.round(at * step)] ?? ''));
    return [name, ...shown, String(Math.max(...values))];
  });
  const columns = Array.from({ length: MEMORY_COLUMNS }, (_, at) => {
    if (at === 0) return 'before';
    return at === MEMORY_COLUMNS - 1 ? 'after' : '';
  });
  return align([['memory MiB', ...columns, 'most'], ...rows]);
}

function longest(gaps: Measured['gaps']): string {
  return (gaps[0]?.lengthMs ?? 0).toFixed(0);
}

function failed({ failures }: Measured): string {
  return Object.keys(failures).length === 0 ? '' : `; failures: ${countsOf(failures)}`;
}

async function main(options: Options): Promise<void> {
  const stage = await Stage.start(stageOptions(options));
  try {
    const craft = await startCraft(stage);
    const overload = new Overload(craft, options);
    try {
      const peak = await overload.peak();
      await overload.overload(peak);
      await overload.afterwards(peak);
      await overload.expensive();
      console.log(`\n${await overload.verify()}`);
    } finally {
      overload.stop();
      await craft.stop();
    }
  } finally {
    await stage.stop();
  }
}

await main(parseOptions());
