/** What a server's machine can do to it: a disk that is full, a clock that is wrong. */
import { type Fault, pickServer } from './fault.js';

const FULL_MS = [1_000, 5_000] as const;
const WRONG_CLOCK_MS = [2_000, 6_000] as const;
/** On both sides of the largest offset at which a server may lead (500 ms by default). */
const CLOCK_OFFSET_MS = [100, 10_000] as const;

/** The disk of one server's log store takes no more. */
const diskFull: Fault = {
  name: 'disk-full',
  obstacle: ({ disks }) => (disks === undefined ? 'this process may not mount a file system' : undefined),
  async inject({ disks, cluster, random }) {
    const servers = cluster.servers.filter((server) => disks?.has(server));
    const server = servers[Math.floor(random.next() * servers.length)];
    if (disks === undefined || server === undefined) throw new RangeError('no server has a disk of its own');
    await disks.fill(server);
    return { what: server, holdMs: random.between(...FULL_MS), heal: () => disks.free(server) };
  },
};

/**
 * One server goes on with a clock that is ahead or behind, and later with the right one: it starts
 * anew each time.
 */
const clock: Fault = {
  name: 'clock',
  async inject(surroundings) {
    const { cluster, random, clockOffsetsMs } = surroundings;
    const server = pickServer(surroundings);
    const [min, max] = CLOCK_OFFSET_MS;
    // As many small ones as large ones.
    const size = Math.round(min * (max / min) ** random.next());
    const offsetMs = random.chance(0.5) ? size : -size;
    const restart = async () => {
      await cluster.kill(server, 'SIGTERM');
      await cluster.restart(server);
    };
    clockOffsetsMs.set(server, offsetMs);
    await restart();
    return {
      what: `${server} ${offsetMs > 0 ? '+' : ''}${offsetMs} ms`,
      holdMs: random.between(...WRONG_CLOCK_MS),
      heal: async () => {
        clockOffsetsMs.delete(server);
        await restart();
      },
    };
  },
};

export const MACHINE_FAULTS: readonly Fault[] = [diskFull, clock];
