/** What commands and recovery cost at each size, as tables and as a picture. Pure. */
import { colorOf, footOf, type Panel, picture, type Series } from '../report/plot.js';
import { type Lines, short } from '../report/table.js';
import type { Spread } from '../statistics.js';
import { type Dimension, SWEEPS } from './dimensions.js';

/**
 * Of all that is part of craft: its servers together, the NATS server, and Postgres with all
 * databases.
 */
interface Parts<T> {
  readonly servers: T;
  readonly nats: T;
  readonly postgres: T;
}

export interface Cost {
  readonly dimension: Dimension;
  readonly size: number;
  /** Over the rounds, like those below. */
  readonly perSecond: Spread;
  /** Milliseconds. */
  readonly p50: Spread;
  readonly p99: Spread;
  /** Processor time of each command (microseconds). */
  readonly cpuUs: Spread;
  readonly cpuUsOf: Parts<number>;
  /** Afterwards (MiB); of the largest server. */
  readonly memoryMiB: { readonly server: number; readonly nats: number; readonly postgres: number };
  readonly failures: number;
  /** Part of all processors that others used (0 to 1), in the worst round. */
  readonly othersUse: number;
}

export interface Recovery {
  readonly dimension: Dimension;
  readonly size: number;
  /**
   * From the start of a server's process until its database shows all acknowledged writes, without
   * load.
   */
  readonly restartMs: number;
  /** A server was killed for a while under load; then it catches up, under the same load. */
  readonly catchUp: {
    /** Commands that it had to apply, those that came meanwhile included. */
    readonly entries: number;
    readonly ms: number;
    /** Whether the load lasted until it had caught up. */
    readonly isUnderLoad: boolean;
    /**
     * What clients waited for while it was away, and from when it was started again until it had
     * caught up (milliseconds).
     */
    readonly p99AwayMs: number;
    readonly p99MeanwhileMs: number;
  };
  readonly keys: number;
  /** Compressed. */
  readonly snapshotBytes: number;
  readonly snapshotMs: number;
  /** From the request to rebuild a server until its state is that of the snapshot. */
  readonly installMs: number;
}

export interface GrowthResult {
  readonly date: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly costs: readonly Cost[];
  readonly recoveries: readonly Recovery[];
}

/** How far a figure may be from the first one of its dimension and still count as flat. */
const FLAT = 0.2;

/** Figures that leave 20 % of the first one have a mark. */
export function isFlat(value: number, first: number): boolean {
  return first === 0 ? value === 0 : Math.abs(value / first - 1) <= FLAT;
}

/** Empty without figures of the dimension. */
export function costTable(dimension: Dimension, all: readonly Cost[]): Lines {
  const rows = all.filter((one) => one.dimension === dimension);
  const [first] = rows;
  if (first === undefined) return [];
  const header = [dimension, 'commands/s', '(min..max)', 'p50 ms', 'p99 ms', 'CPU us', 'servers', 'NATS', 'Postgres'];
  const memory = ['server MiB', 'NATS MiB', 'Postgres MiB', 'others', 'failures'];
  const lines = rows.map((row) => {
    const cell = (figure: (one: Cost) => number): string => marked(figure(row), figure(first));
    return [
      row.size.toLocaleString('en-US'),
      cell((one) => one.perSecond.median),
      `${short(row.perSecond.min)}..${short(row.perSecond.max)}`,
      cell((one) => one.p50.median),
      cell((one) => one.p99.median),
      cell((one) => one.cpuUs.median),
      cell((one) => one.cpuUsOf.servers),
      cell((one) => one.cpuUsOf.nats),
      cell((one) => one.cpuUsOf.postgres),
      cell((one) => one.memoryMiB.server),
      cell((one) => one.memoryMiB.nats),
      cell((one) => one.memoryMiB.postgres),
      `${(100 * row.othersUse).toFixed(0)} %`,
      String(row.failures),
    ];
  });
  return [[...header, ...memory], ...lines];
}

/** Empty without figures of the dimension. */
export function recoveryTable(dimension: Dimension, all: readonly Recovery[]): Lines {
  const rows = all.filter((one) => one.dimension === dimension);
  const [first] = rows;
  if (first === undefined) return [];
  const header = [dimension, 'restart s', 'missed', 'caught up s', 'entries/s', 'p99 away', 'p99 meanwhile'];
  const snapshots = ['keys', 'snapshot MB', 'taken s', 'MB/s', 'keys/s', 'installed s', 'MB/s', 'keys/s'];
  const lines = rows.map((row) => {
    const cell = (figure: (one: Recovery) => number): string => marked(figure(row), figure(first));
    return [
      row.size.toLocaleString('en-US'),
      cell(({ restartMs }) => restartMs / 1_000),
      short(row.catchUp.entries),
      `${short(row.catchUp.ms / 1_000)}${row.catchUp.isUnderLoad ? '' : ' (load ended)'}`,
      cell(({ catchUp }) => perSecond(catchUp.entries, catchUp.ms)),
      short(row.catchUp.p99AwayMs),
      short(row.catchUp.p99MeanwhileMs),
      short(row.keys),
      short(row.snapshotBytes / 1e6),
      short(row.snapshotMs / 1_000),
      cell(({ snapshotBytes, snapshotMs }) => perSecond(snapshotBytes / 1e6, snapshotMs)),
      cell(({ keys, snapshotMs }) => perSecond(keys, snapshotMs)),
      short(row.installMs / 1_000),
      cell(({ snapshotBytes, installMs }) => perSecond(snapshotBytes / 1e6, installMs)),
      cell(({ keys, installMs }) => perSecond(keys, installMs)),
    ];
  });
  return [[...header, ...snapshots], ...lines];
}

function marked(value: number, first: number): string {
  return isFlat(value, first) ? short(value) : `${short(value)}!`;
}

function perSecond(count: number, ms: number): number {
  return ms === 0 ? 0 : (count * 1_000) / ms;
}

/** A panel for each dimension: processor time of a command, and memory of a server. */
export function growthPicture(result: GrowthResult): string {
  const dimensions = [...new Set(result.costs.map(({ dimension }) => dimension))];
  const panels = dimensions.map((dimension): Panel => {
    const rows = result.costs.filter((one) => one.dimension === dimension);
    const line = (title: string, color: number, figure: (one: Cost) => Spread): Series => ({
      title,
      color: colorOf(color),
      points: rows.flatMap((one) => (figure(one).min > 0 ? [{ x: one.size, y: figure(one) }] : [])),
    });
    const alone = (value: number): Spread => ({ median: value, min: value, max: value });
    return {
      title: `${dimension}: us a command, MiB`,
      xTitle: SWEEPS[dimension].title,
      series: [
        line('processor time a command, us', 0, ({ cpuUs }) => cpuUs),
        line('of it craft servers, us', 1, ({ cpuUsOf }) => alone(cpuUsOf.servers)),
        line('of it Postgres, us', 4, ({ cpuUsOf }) => alone(cpuUsOf.postgres)),
        line('of it NATS, us', 2, ({ cpuUsOf }) => alone(cpuUsOf.nats)),
        line('memory of a craft server, MiB', 3, ({ memoryMiB }) => alone(memoryMiB.server)),
      ],
    };
  });
  const rounds = 'medians over the rounds, bars from the lowest to the highest';
  return picture({ title: 'What a command costs as things grow', panels, foot: footOf(result, rounds) });
}
