/** Runs many seeds, reports the failures so that they can be replayed, and sums up. */
import { performance } from 'node:perf_hooks';
import { withDefect } from './defects/index.js';
import { knownReason } from './known-seeds.js';
import { FAULT_KINDS, type FaultKind, type SimulationRequest } from './options.js';
import { type Outcome, simulate } from './simulation.js';
import { formatEvent, type TraceEvent } from './trace.js';

export interface CampaignOptions {
  readonly from: number;
  readonly seeds: number;
  readonly minutes: number;
  readonly defect?: string | undefined;
  readonly servers?: number | undefined;
  readonly spares?: number | undefined;
  readonly groups?: number | undefined;
  readonly faults?: readonly FaultKind[] | undefined;
  readonly skewed?: boolean | undefined;
  readonly stranded?: boolean | undefined;
  readonly versions?: boolean | undefined;
  readonly until?: number | undefined;
  readonly trace?: boolean | undefined;
  /** Goes on after a failure. */
  readonly keepGoing?: boolean | undefined;
}

/** Events of a failure that are shown. */
const SHOWN = 40;
/**
 * Tries to do without one kind of fault after another take time; a run that fails late is not
 * shrunk for ever (milliseconds).
 */
const SHRINK_MS_MAX = 20_000;

/** True when no invariant broke. */
export function campaign(options: CampaignOptions, print: (line: string) => void): boolean {
  const startMs = performance.now();
  const sum = new Summary();
  let failures = 0;
  for (let at = 0; at < options.seeds; at++) {
    if (performance.now() - startMs > options.minutes * 60_000) break;
    const request = {
      seed: options.from + at,
      servers: options.servers,
      spares: options.spares,
      groups: options.groups,
      faults: options.faults,
      skewed: options.skewed,
      stranded: options.stranded,
      versions: options.versions,
    };
    const outcome = withDefect(options.defect, () =>
      simulate(request, {
        until: options.until,
        print: options.trace === true ? (event) => print(formatEvent(event)) : undefined,
      }),
    );
    sum.add(outcome);
    if (outcome.violation === null) continue;
    const known = options.defect === undefined ? knownReason(request.seed) : undefined;
    // One seed that is asked for by itself is a replay, and is to show what happens.
    if (known !== undefined && options.seeds > 1) {
      print(`seed ${request.seed} fails, as is known: ${known}`);
      continue;
    }
    failures += 1;
    for (const line of report(outcome, request, options.defect)) print(line);
    if (options.keepGoing !== true) break;
  }
  print(sum.line((performance.now() - startMs) / 1_000, failures));
  return failures === 0;
}

/** What a failure was, how to see it again, and what led to it. */
export function report(outcome: Outcome, request: SimulationRequest, defect: string | undefined): string[] {
  const { violation } = outcome;
  if (violation === null) return [];
  const shrunk = shrink(outcome, request, defect);
  const { options, steps } = shrunk.outcome;
  const shown = shrunk.outcome.violation ?? violation;
  return [
    `seed ${request.seed}: ${options.servers} servers, ${options.groups} groups: ${violation.invariant} broken at step ${outcome.steps}: ${violation.message}`,
    shrunk.request.faults === request.faults
      ? '  the last events:'
      : `  the same with only these faults: ${[...options.faults].join(', ') || 'none'}: ${shown.invariant} at step ${steps}: ${shown.message.split('\n')[0]}`,
    ...shorten(shrunk.outcome.events, shown.group).map((event) => `  ${formatEvent(event)}`),
    `  replay: ${command(request, outcome.steps, defect)}`,
    ...(shrunk.request === request ? [] : [`  shrunk: ${command(shrunk.request, steps, defect)}`]),
  ];
}

function command(request: SimulationRequest, steps: number, defect: string | undefined): string {
  const parts = [`npm run sim -- --seed ${request.seed} --until ${steps} --trace`];
  if (request.servers !== undefined) parts.push(`--servers ${request.servers}`);
  if (request.spares !== undefined) parts.push(`--spares ${request.spares}`);
  if (request.skewed === true) parts.push('--skewed');
  if (request.stranded === true) parts.push('--stranded');
  if (request.versions === true) parts.push('--versions');
  if (request.groups !== undefined) parts.push(`--groups ${request.groups}`);
  if (request.faults !== undefined)
    parts.push(`--faults ${request.faults.length === 0 ? "''" : request.faults.join(',')}`);
  if (defect !== undefined) parts.push(`--break ${defect}`);
  return parts.join(' ');
}

/** Leaves out one kind of fault after the other as long as the same invariant breaks without it. */
function shrink(outcome: Outcome, request: SimulationRequest, defect: string | undefined) {
  const startMs = performance.now();
  let best = { outcome, request };
  for (const kind of FAULT_KINDS) {
    if (performance.now() - startMs > SHRINK_MS_MAX) break;
    const { faults } = best.outcome.options;
    if (!faults.has(kind)) continue;
    const fewer = { ...request, faults: [...faults].filter((other) => other !== kind) };
    const tried = withDefect(defect, () => simulate(fewer));
    if (tried.violation?.invariant === outcome.violation?.invariant) best = { outcome: tried, request: fewer };
  }
  return best;
}

const ALWAYS_SHOWN = new Set(['fault', 'crash', 'start', 'heal', 'leads', 'steps down']);

/** The last events that concern the group, and the faults among them. */
function shorten(events: readonly TraceEvent[], group: number | null): TraceEvent[] {
  const ofGroup = group === null ? null : `group ${group} `;
  const kept = events.filter(
    (event) => ofGroup === null || ALWAYS_SHOWN.has(event.kind) || `${event.detail()} `.includes(ofGroup),
  );
  return kept.slice(-SHOWN);
}

class Summary {
  private seeds = 0;
  private steps = 0;
  private simulatedUs = 0;
  private slowestHealUs = 0;
  private readonly numbers = new Map<string, number>();
  private readonly faults = new Map<string, number>();

  add({ steps, simulatedUs, healedInUs, counts }: Outcome): void {
    this.seeds += 1;
    this.steps += steps;
    this.simulatedUs += simulatedUs;
    this.slowestHealUs = Math.max(this.slowestHealUs, healedInUs);
    for (const [kind, count] of counts.faults) this.faults.set(kind, (this.faults.get(kind) ?? 0) + count);
    for (const [name, value] of Object.entries(counts)) {
      if (typeof value === 'number') this.numbers.set(name, (this.numbers.get(name) ?? 0) + value);
    }
  }

  line(seconds: number, failures: number): string {
    const faults = [...this.faults].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, count]) => `${kind} ${count}`);
    const numbers = [...this.numbers].map(([name, count]) => `${name} ${count}`);
    const simulated = this.simulatedUs / 1e6;
    return [
      `seeds ${this.seeds}`,
      `failures ${failures}`,
      `steps ${this.steps}`,
      `simulated ${simulated.toFixed(0)} s`,
      `real ${seconds.toFixed(1)} s`,
      `${(simulated / seconds).toFixed(0)} simulated s per s`,
      `slowest heal ${(this.slowestHealUs / 1e6).toFixed(1)} s`,
      ...numbers,
      `faults: ${faults.join(', ')}`,
    ].join('; ');
  }
}
