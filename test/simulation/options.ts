/**
 * What a seed decides before anything happens: the shape of the cluster, its limits, which faults
 * there will be.
 */
import { GROUP_DEFAULTS } from '../../shared/raft/options.js';
import { Random } from './random.js';

/** Every kind of fault; a run has a random choice of them. */
export const FAULT_KINDS = [
  'partition',
  'one-way',
  'loss',
  'duplicate',
  'delay',
  'crash',
  'power',
  'merger-crash',
  'applier-crash',
  'database-crash',
  'local-loss',
  'slow-disk',
  'stalled-disk',
  'failed-write',
  'clock-jump',
  'clock-drift',
  'clock-far',
  'pause',
  'transfer',
  'targeted',
  'stream-loss',
  'database-loss',
  'snapshot-loss',
  'slow-install',
  'reader-stall',
  'session-loss',
  'divergence',
  'restore',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Half of what two clocks may differ by (microseconds). */
export const CLOCK_OFFSET_US_MAX = 240_000;

/** So that logs are cut while a stranded leader is away. */
const STRANDED_SNAPSHOT_EVERY = 3;

/** What the caller may fix; everything else follows from the seed. */
export interface SimulationRequest {
  readonly seed: number;
  readonly servers?: number | undefined;
  readonly spares?: number | undefined;
  readonly groups?: number | undefined;
  readonly snapshotEvery?: number | undefined;
  readonly faultUs?: number | undefined;
  /**
   * Clocks as unequal as they may be, fast elections, leaders that end just when they have said
   * something.
   */
  readonly skewed?: boolean | undefined;
  /** Leaders are stranded again and again (stranding.ts). */
  readonly stranded?: boolean | undefined;
  /** Only these kinds, of those that the seed has chosen. */
  readonly faults?: readonly FaultKind[] | undefined;
  /**
   * Servers get further versions of the state machine, and the cluster is switched to them (T12).
   */
  readonly versions?: boolean | undefined;
}

export interface SimulationOptions {
  readonly seed: number;
  readonly servers: number;
  /** Servers that may be added while it runs (T11). */
  readonly spares: number;
  readonly groups: number;
  readonly stranded: boolean;
  readonly versions: boolean;
  /** A snapshot is due after so many commands; never when it is infinite (T10). */
  readonly snapshotEvery: number;
  /** Rows are compared this often while commands are applied (milliseconds). */
  readonly verifyEveryMs: number;
  readonly faults: ReadonlySet<FaultKind>;
  /** Everything passes through the production encoders and decoders on its way. */
  readonly encoded: boolean;
  /** How long faults come and go (microseconds). */
  readonly faultUs: number;
  /** Mean time between two faults (microseconds). */
  readonly faultEveryUs: number;
  /** How often something that is rarely interesting hits a server at a telling moment. */
  readonly targetedChance: number;
  readonly clients: number;
  /** Mean pause of a client between two operations (microseconds). */
  readonly thinkUs: number;
  readonly keys: number;
  readonly latencyUs: number;
  readonly diskUs: number;
  readonly clockGranularityUs: number;
  readonly clockOffsetUs: number;
  readonly tickMs: number;
  readonly core: {
    readonly electionTimeoutMs: number;
    readonly heartbeatMs: number;
    readonly handBackAfterMs: number;
    readonly appendBytesMax: number;
    readonly inflightMessagesMax: number;
    readonly inflightBytesMax: number;
    readonly uncommittedBytesMax: number;
    readonly windowBytesMax: number;
    readonly closeIntervalMs: number;
    readonly clockOffsetUsMax: number;
    readonly promiseWindowUs: number;
    readonly envelopeBytesMax: number;
    readonly proposalsMax: number;
  };
  /** The services of a server share a process; else they meet over NATS. */
  readonly isOneProcess: boolean;
  readonly merger: {
    readonly batchEntriesMax: number;
    readonly batchBytesMax: number;
    readonly fetchBytesMax: number;
    readonly waitingBytesMax: number;
    readonly unstoredBytesMax: number;
    readonly storeDelayMs: number;
  };
  readonly applier: {
    readonly batchCommandsMax: number;
    readonly batchBytesMax: number;
    readonly queuedCommandsMax: number;
    readonly queuedBytesMax: number;
  };
}

/**
 * The seed's choice is drawn also when the caller has made it: what is drawn afterwards stays the
 * same.
 */
const among = (drawn: number, given: number | undefined): number => given ?? drawn;

export function optionsOf(request: SimulationRequest): SimulationOptions {
  const random = new Random(request.seed, 1);
  const servers = random.pick([3, 3, 3, 3, 5, 5, 4, 1]);
  const spares = random.pick([0, 0, 1, 2, 3]);
  const groups = random.pick([3, 3, 2, 2, 1, 5]);
  const isSkewed = random.chance(0.3) || request.skewed === true;
  const share = random.pick([0.15, 0.3, 0.5, 0.8, 1]);
  const snapshotEvery = random.pick([Number.POSITIVE_INFINITY, 3, 10, 30, 100]);
  const drawn = FAULT_KINDS.filter((kind) => random.chance(kind === 'targeted' && isSkewed ? 1 : share));
  const tight = random.chance(0.5);
  const pick = <T>(roomy: T, ...narrow: readonly T[]) => (tight ? random.pick([roomy, ...narrow]) : roomy);
  // Elections that are faster than the clocks are equal: only then do promises, and not the time
  // that passes, keep order.
  const isFast = random.chance(0.5) || isSkewed;
  const isOneProcess = random.chance(0.7);
  return {
    seed: request.seed,
    isOneProcess,
    servers: request.servers ?? servers,
    spares: request.spares ?? spares,
    groups: request.groups ?? groups,
    // From generators of their own: what the seed has always chosen stays.
    stranded: request.stranded ?? false,
    versions: request.versions ?? false,
    snapshotEvery: request.snapshotEvery ?? (request.stranded === true ? STRANDED_SNAPSHOT_EVERY : snapshotEvery),
    faults: new Set(drawn.filter((kind) => request.faults === undefined || request.faults.includes(kind))),
    verifyEveryMs: random.pick([1_000, 3_000, 10_000]),
    encoded: random.chance(0.125),
    faultUs: among(random.pick([8, 15, 30]) * 1e6, request.faultUs),
    faultEveryUs: random.pick([300, 800, 2_000, 5_000]) * 1e3,
    targetedChance: random.pick(isSkewed ? [0.003, 0.02, 0.1] : [0.002, 0.01, 0.05]),
    clients: random.pick([2, 4, 6]),
    thinkUs: random.pick(isSkewed ? [20, 50, 150] : [50, 150, 600]) * 1e3,
    keys: random.pick([2, 8, 40]),
    latencyUs: random.pick(isFast ? [100, 500, 500, 3_000] : [100, 500, 500, 5_000, 30_000]),
    diskUs: random.pick([100, 500, 500, 3_000]),
    clockGranularityUs: random.pick([1, 1_000, 1_000, 15_000]),
    clockOffsetUs: isSkewed ? CLOCK_OFFSET_US_MAX : random.pick([0, 2_000, 100_000, CLOCK_OFFSET_US_MAX]),
    tickMs: isFast ? 25 : random.pick([20, 50, 50]),
    core: {
      ...GROUP_DEFAULTS,
      ...(isFast ? { electionTimeoutMs: 150, heartbeatMs: 50, handBackAfterMs: random.pick([300, 3_000]) } : {}),
      appendBytesMax: pick<number>(GROUP_DEFAULTS.appendBytesMax, 1, 1, 150),
      inflightMessagesMax: pick<number>(GROUP_DEFAULTS.inflightMessagesMax, 1, 3),
      uncommittedBytesMax: pick(64 * 1024, 2_000),
      windowBytesMax: pick<number>(GROUP_DEFAULTS.windowBytesMax, 600, 4_000),
      clockOffsetUsMax: 500_000,
      promiseWindowUs: 250_000,
      envelopeBytesMax: pick(768 * 1024, 200, 1_000),
      proposalsMax: pick(4_096, 1, 3),
    },
    merger: {
      batchEntriesMax: pick(2_048, 1, 3),
      batchBytesMax: pick(512 * 1024, 300),
      fetchBytesMax: pick(512 * 1024, 300, 2_000),
      waitingBytesMax: pick(4 * 1024 * 1024, 400),
      unstoredBytesMax: pick(4 * 1024 * 1024, 300),
      storeDelayMs: isOneProcess ? pick(50, 5, 500) : 0,
    },
    applier: {
      batchCommandsMax: pick(1_024, 1, 4),
      batchBytesMax: pick(4 * 1024 * 1024, 500),
      queuedCommandsMax: pick(8_192, 5),
      queuedBytesMax: 16 * 1024 * 1024,
    },
  };
}
