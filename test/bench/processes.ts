/**
 * What processes use, from /proc (Linux): processor time with all that they have started, and
 * memory.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Name -> process id of the root of a process tree. */
export type Processes = Readonly<Record<string, number>>;

const TICKS_PER_SECOND = 100;

interface Stat {
  readonly parent: number;
  /** Own time and that of children that have ended, seconds. */
  readonly seconds: number;
}

function readStats(): Map<number, Stat> {
  const stats = new Map<number, Stat>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    let text: string;
    try {
      text = readFileSync(`/proc/${name}/stat`, 'utf8');
    } catch {
      continue; // ended meanwhile
    }
    // Fields are counted from after the command name, which may contain anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field] ?? 0), 0);
    stats.set(Number(name), { parent: Number(fields[1] ?? 0), seconds: ticks / TICKS_PER_SECOND });
  }
  return stats;
}

/** Seconds that all processors together were busy so far, with whatever. */
function busySeconds(): number {
  const [first = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const [user = 0, nice = 0, system = 0, , , interrupts = 0, softInterrupts = 0] = first
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + interrupts + softInterrupts) / TICKS_PER_SECOND;
}

/** Under this name: everything that is not ours. Much of it, and the figures are not worth much. */
export const OTHERS = 'others';

/**
 * Seconds of processor time so far, by name. A process inside another's tree is counted once, under
 * its own name; what the machine did besides is `others`.
 */
export function processorSeconds(processes: Processes): Record<string, number> {
  const stats = readStats();
  const names = new Map(Object.entries(processes).map(([name, pid]) => [pid, name]));
  const seconds: Record<string, number> = Object.fromEntries(Object.keys(processes).map((name) => [name, 0]));
  for (const [pid, stat] of stats) {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = stats.get(at)?.parent) {
      const name = names.get(at);
      if (name === undefined) continue;
      seconds[name] = (seconds[name] ?? 0) + stat.seconds;
      break;
    }
  }
  const ours = Object.values(seconds).reduce((sum, value) => sum + value, 0);
  return { ...seconds, [OTHERS]: busySeconds() - ours };
}

const PAGE_BYTES = 4_096;
const MIB = 1024 * 1024;

/** Resident memory of one process; 0 when it has ended. */
export function residentMiB(pid: number): number {
  try {
    const [, pages = 0] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ').map(Number);
    return (pages * PAGE_BYTES) / MIB;
  } catch {
    return 0;
  }
}

/**
 * Memory of process trees (MiB), by name. Pages that several processes of a tree share, as those of
 * Postgres do, count once (PSS). Where that may not be read, the resident memory of the root.
 */
export function memoryMiB(processes: Processes): Record<string, number> {
  const stats = readStats();
  const roots = new Map(Object.entries(processes).map(([name, pid]) => [pid, name]));
  const sums: Record<string, number> = Object.fromEntries(Object.keys(processes).map((name) => [name, 0]));
  for (const pid of stats.keys()) {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = stats.get(at)?.parent) {
      const name = roots.get(at);
      if (name === undefined) continue;
      sums[name] = (sums[name] ?? 0) + (shareMiB(pid) ?? (pid === at ? residentMiB(pid) : 0));
      break;
    }
  }
  return sums;
}

function shareMiB(pid: number): number | undefined {
  try {
    const [, kib] = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')) ?? [];
    return kib === undefined ? undefined : Number(kib) / 1_024;
  } catch {
    return undefined;
  }
}
