/**
 * One long run instead of many short ones. What a server keeps (T10) must depend on the state and
 * on how often there are snapshots, not on how long the cluster has lived.
 */
import { performance } from 'node:perf_hooks';
import { EntryKind } from '../../shared/raft/entry.js';
import type { FaultKind } from './options.js';
import type { SimulatedServer } from './server.js';
import { type Outcome, simulate } from './simulation.js';
import type { World } from './world.js';

export interface SoakOptions {
  readonly seed: number;
  /** Of simulated time with faults; then everything heals. */
  readonly minutes: number;
  /** A snapshot is due after so many commands. */
  readonly snapshotEvery: number;
  readonly servers?: number | undefined;
  readonly spares?: number | undefined;
  readonly groups?: number | undefined;
  readonly faults?: readonly FaultKind[] | undefined;
}

/** What is kept at one moment, by the member that keeps most of it. */
interface Kept {
  readonly minute: number;
  /** Commands in the logs of all groups. */
  readonly log: number;
  /** Commands in the merged-log stream. */
  readonly stream: number;
}

export interface Soak {
  readonly outcome: Outcome;
  readonly kept: readonly Kept[];
  /** Commands that a server may keep. */
  readonly bound: number;
  readonly complaints: readonly string[];
}

/**
 * Logs and streams begin at the snapshot before the newest, and the next one is due `snapshotEvery`
 * after the newest: two intervals. As much again may come meanwhile for each of these: a snapshot
 * that is being taken, a member that is being installed, and a lost bucket. That must be filled
 * twice before anything is dropped.
 */
const INTERVALS_MAX = 6;
/**
 * For what commits while a fault keeps the snapshots from being taken (seconds of commands at the
 * run's mean rate).
 */
const FAULT_S = 60;

export function soak({ seed, minutes, snapshotEvery, ...shape }: SoakOptions): Soak {
  const kept: Kept[] = [];
  const outcome = simulate(
    { seed, ...shape, snapshotEvery, faultUs: minutes * 60e6 },
    { onMinute: (world) => kept.push(keptIn(world)) },
  );
  const rate = outcome.counts.commits / (outcome.simulatedUs / 1e6);
  const bound = Math.ceil(INTERVALS_MAX * snapshotEvery + FAULT_S * rate);
  const most = Math.max(0, ...kept.map(({ log, stream }) => Math.max(log, stream)));
  const complaints: string[] = [];
  if (outcome.violation !== null) complaints.push(`${outcome.violation.invariant}: ${outcome.violation.message}`);
  if (most > bound) complaints.push(`a server keeps ${most} commands, at most ${bound}`);
  return { outcome, kept, bound, complaints };
}

function keptIn({ operator, queue }: World): Kept {
  const { members } = operator;
  return {
    minute: Math.round(queue.nowUs / 60e6),
    log: Math.max(...members.map(commandsIn)),
    stream: Math.max(...members.map(({ stream }) => stream.keptCommands)),
  };
}

function commandsIn({ disk }: SimulatedServer): number {
  let commands = 0;
  for (const { entries } of disk.groups.values())
    for (const { kind } of entries) if (kind === EntryKind.command) commands += 1;
  return commands;
}

const ROWS = 12;

/** Runs it and shows how much is kept; true when nothing broke. */
export function reportSoak(options: SoakOptions, print: (line: string) => void): boolean {
  const startMs = performance.now();
  const { outcome, kept, bound, complaints } = soak(options);
  print('simulated minute   commands in the largest log   in the largest stream');
  const step = Math.max(1, Math.ceil(kept.length / ROWS));
  for (let at = 0; at < kept.length; at += step) {
    const rows = kept.slice(at, at + step);
    const most = (of: 'log' | 'stream') => Math.max(...rows.map((row) => row[of]));
    print(
      `${String(rows.at(-1)?.minute).padStart(16)}${String(most('log')).padStart(30)}${String(most('stream')).padStart(24)}`,
    );
  }
  for (const complaint of complaints) print(complaint);
  const { counts, simulatedUs, options: shape } = outcome;
  const faults = [...counts.faults].map(([kind, count]) => `${kind} ${count}`).sort();
  const seconds = (performance.now() - startMs) / 1_000;
  print(
    `seed ${options.seed}: ${shape.servers} servers, ${shape.groups} groups, simulated ${(simulatedUs / 60e6).toFixed(1)} minutes in ${seconds.toFixed(0)} s; ` +
      `commits ${counts.commits}, reads ${counts.reads}, elections ${counts.elections}; a snapshot every ${options.snapshotEvery}, bound ${bound}; ` +
      `faults: ${faults.join(', ')}; ${complaints.length} complaints`,
  );
  return complaints.length === 0;
}
