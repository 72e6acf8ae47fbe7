/** Throughput under narrow links and little processor time, as tables and as a picture. Pure. */
import { colorOf, footOf, type Panel, picture } from '../report/plot.js';
import { type Lines, short } from '../report/table.js';
import type { LinkBounds } from './bounds.js';
import { BYTE_KINDS, type BytesByKind } from './nats-meter.js';

interface Measured {
  readonly servers: number;
  readonly groups: number;
  readonly valueBytes: number;
  readonly inFlight: number;
  /** Commands that were applied. */
  readonly perSecond: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly failures: number;
  /** Whether the leadership of a group changed meanwhile. */
  readonly haveLeadersMoved: boolean;
  /** Measurements that were dropped before, because leadership moved. */
  readonly repeats: number;
  /** Of all processors of the machine, with whatever (0 to 1). */
  readonly machineUse: number;
  /** Of `machineUse`, what had nothing to do with the benchmark. */
  readonly othersUse: number;
}

export interface LinkRow extends Measured {
  readonly bytesPerSecond: number;
  readonly bounds: LinkBounds;
  /** Of the link that sent most (0 to 1; a little more after a pause). */
  readonly linkUse: number;
  /** Bytes for each command that this link sent, by kind, and that it received. */
  readonly sentBytes: BytesByKind;
  readonly receivedBytes: number;
  /**
   * Part of what the limit allowed while something waited (0 to 1): the proxy's own error is what
   * is missing.
   */
  readonly passed: number;
}

export interface ProcessorRow extends Measured {
  /** Of one processor, for each server. */
  readonly share: number;
  /** Of what the server with most work got (0 to 1). */
  readonly shareUse: number;
  /** Microseconds for each command, by server. */
  readonly costsUs: readonly number[];
  /** Undefined for one group, and when its costs are not known. */
  readonly bound: number | undefined;
}

/** Measured throughput is as good as the bound when it comes so close. */
const NEAR = 0.85;

export function linkTable(rows: readonly LinkRow[]): Lines {
  const header = ['servers', 'groups', 'value B', 'MB/s', 'in flight', 'commands/s', 'bound', 'ratio', 'near'];
  const besides = [
    'of one group',
    'no log',
    'fan-out',
    'link use',
    'machine',
    'others',
    'p50 ms',
    'p99 ms',
    'failures',
  ];
  const lines = rows.map((row) => [
    ...common(row, (row.bytesPerSecond / 1e6).toFixed(2)),
    short(row.bounds.allCopies),
    ...nearness(row.perSecond, row.bounds.allCopies),
    ofOneGroup(row, rows),
    short(row.bounds.withoutMergedLog),
    short(row.bounds.withFanOut),
    percent(row.linkUse),
    ...rest(row),
  ]);
  return [[...header, ...besides], ...lines];
}

/** Bytes for each command on the link that sends most. */
export function bytesTable(rows: readonly LinkRow[]): Lines {
  const header = ['servers', 'groups', 'value B', ...BYTE_KINDS, 'sent', 'received', 'proxy'];
  const lines = rows.map(({ servers, groups, valueBytes, sentBytes, receivedBytes, passed }) => [
    String(servers),
    String(groups),
    String(valueBytes),
    ...BYTE_KINDS.map((kind) => short(sentBytes[kind])),
    short(BYTE_KINDS.reduce((sum, kind) => sum + sentBytes[kind], 0)),
    short(receivedBytes),
    percent(passed, 1),
  ]);
  return [header, ...lines];
}

export function processorTable(rows: readonly ProcessorRow[]): Lines {
  const header = ['servers', 'groups', 'value B', 'share', 'in flight', 'commands/s', 'bound', 'ratio', 'near'];
  const besides = ['of one group', 'CPU us a server', 'share use', 'machine', 'others', 'p50 ms', 'p99 ms', 'failures'];
  const lines = rows.map((row) => [
    ...common(row, String(row.share)),
    row.bound === undefined ? '' : short(row.bound),
    ...(row.bound === undefined ? ['', ''] : nearness(row.perSecond, row.bound)),
    ofOneGroup(row, rows),
    row.costsUs.map((us) => short(us)).join(' / '),
    percent(row.shareUse),
    ...rest(row),
  ]);
  return [[...header, ...besides], ...lines];
}

function common(row: Measured, limit: string): string[] {
  const { servers, groups, valueBytes, inFlight, perSecond } = row;
  return [String(servers), String(groups), String(valueBytes), limit, String(inFlight), short(perSecond)];
}

function rest({ machineUse, othersUse, p50, p99, failures, haveLeadersMoved, repeats }: Measured): string[] {
  const again = repeats === 0 ? '' : `, ${repeats} dropped`;
  const outcome = `${failures}${again}${haveLeadersMoved ? ', leaders moved' : ''}`;
  return [percent(machineUse), percent(othersUse), short(p50), short(p99), outcome];
}

function nearness(perSecond: number, bound: number): [ratio: string, isNear: string] {
  const ratio = perSecond / bound;
  return [ratio.toFixed(2), ratio >= NEAR ? 'yes' : 'no'];
}

/** How many times the throughput of one group, everything else being the same. */
function ofOneGroup<Row extends Measured>(row: Row, all: readonly Row[]): string {
  const one = all.find(
    ({ groups, servers, valueBytes }) => groups === 1 && servers === row.servers && valueBytes === row.valueBytes,
  );
  return one === undefined || one.perSecond === 0 ? '' : (row.perSecond / one.perSecond).toFixed(2);
}

function percent(part: number, digits = 0): string {
  return `${(100 * part).toFixed(digits)} %`;
}

export interface LeadersResult {
  readonly date: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly links: readonly LinkRow[];
  readonly processors: readonly ProcessorRow[];
}

/**
 * A panel for each size of value, and one for little processor time: commands a second against
 * servers.
 */
export function leadersPicture(result: LeadersResult): string {
  const { links, processors } = result;
  const values = [...new Set(links.map(({ valueBytes }) => valueBytes))];
  const limitOf = (valueBytes: number): string =>
    ((links.find((row) => row.valueBytes === valueBytes)?.bytesPerSecond ?? 0) / 1e6).toFixed(2);
  const panels = [
    ...values.map((value) =>
      panelOf(
        `links of ${limitOf(value)} MB/s, values of ${value} bytes`,
        links.filter(({ valueBytes }) => valueBytes === value),
        ({ bounds }) => bounds.allCopies,
      ),
    ),
    ...(processors.length === 0
      ? []
      : [panelOf(`servers with ${processors[0]?.share} of a processor`, processors, ({ bound }) => bound)]),
  ];
  return picture({
    title: 'One leader or several, when leaders are the limit',
    panels,
    foot: footOf(result, 'one run'),
  });
}

function panelOf<Row extends Measured>(
  title: string,
  rows: readonly Row[],
  boundOf: (row: Row) => number | undefined,
): Panel {
  const groups = [...new Set(rows.map((row) => row.groups))];
  const line = (name: string, color: number, count: number, figure: (row: Row) => number | undefined) => ({
    title: name,
    color: colorOf(color),
    points: rows.flatMap((row) => {
      const value = row.groups === count ? figure(row) : undefined;
      return value === undefined || value <= 0
        ? []
        : [{ x: row.servers, y: { median: value, min: value, max: value } }];
    }),
  });
  const series = groups.flatMap((count, at) => [
    line(`${count} ${count === 1 ? 'group' : 'groups'}`, 2 * at, count, ({ perSecond }) => perSecond),
    line(`${count} ${count === 1 ? 'group' : 'groups'}: bound by arithmetic`, 2 * at + 1, count, boundOf),
  ]);
  return { title: `${title}: commands/s`, xTitle: 'servers', series };
}
