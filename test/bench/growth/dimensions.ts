/** What grows, to which sizes, and what stays the same meanwhile. Pure. */

export const DIMENSIONS = ['history', 'keys', 'groups', 'value', 'clients'] as const;
export type Dimension = (typeof DIMENSIONS)[number];

/** What a command is measured with. */
export interface Setting {
  readonly groups: number;
  /** Keys that there are, and that are overwritten at random. */
  readonly keys: number;
  readonly valueBytes: number;
  readonly connections: number;
  readonly inFlight: number;
  /** Commands that were applied before, at least. */
  readonly history: number;
}

interface Sweep {
  /** For readers. */
  readonly title: string;
  readonly sizes: { readonly full: readonly number[]; readonly quick: readonly number[] };
  setting(size: number): Partial<Setting>;
  /**
   * Whether one cluster is measured at one size after the other; else each size has a cluster of
   * its own.
   */
  readonly isOneCluster: boolean;
  /**
   * Whether the state or the log grows, so that restart, catching up and snapshots are measured,
   * too.
   */
  readonly hasRecovery: boolean;
  /** What a reader should expect, and why. */
  readonly expectation: string;
}

const DEFAULT: Setting = { groups: 3, keys: 10_000, valueBytes: 128, connections: 2, inFlight: 64, history: 0 };

export const SWEEPS: Readonly<Record<Dimension, Sweep>> = {
  history: {
    title: 'commands in the log before',
    sizes: { full: [100_000, 300_000, 1_000_000, 5_000_000], quick: [50_000, 200_000] },
    setting: (history) => ({ history }),
    isOneCluster: true,
    hasRecovery: true,
    expectation: 'flat: logs and streams are cut by snapshots, and no command looks at those before it',
  },
  keys: {
    title: 'keys in the state',
    sizes: { full: [1_000, 10_000, 100_000, 1_000_000, 10_000_000], quick: [1_000, 100_000] },
    setting: (keys) => ({ keys }),
    isOneCluster: true,
    hasRecovery: true,
    expectation: 'flat but for Postgres: its index gets deeper, and rows that are overwritten lie in more pages',
  },
  groups: {
    title: 'groups',
    sizes: { full: [1, 2, 3, 4, 6, 8], quick: [1, 8] },
    setting: (groups) => ({ groups }),
    isOneCluster: false,
    hasRecovery: false,
    expectation: 'grows: the same load comes in smaller batches, each with its messages and its promises',
  },
  value: {
    title: 'bytes of a value',
    sizes: { full: [16, 128, 1_024, 8_192, 65_536], quick: [16, 4_096, 65_536] },
    setting: (valueBytes) => ({ valueBytes }),
    isOneCluster: true,
    hasRecovery: false,
    expectation: 'flat up to about a kilobyte; then copying, disks and Postgres cost by the byte',
  },
  clients: {
    title: 'clients, a connection and a request in flight each',
    sizes: { full: [1, 8, 64, 512, 2_000], quick: [1, 64, 512] },
    setting: (clients) => ({ connections: clients, inFlight: clients }),
    isOneCluster: true,
    hasRecovery: false,
    expectation: 'falls: many commands share a write, a message and a transaction; one alone pays for all of them',
  },
};

/** Throws RangeError for a size that is no whole number above 0. */
export function settingOf(dimension: Dimension, size: number): Setting {
  if (!Number.isSafeInteger(size) || size < 1) throw new RangeError(`${dimension} of ${size}`);
  return { ...DEFAULT, ...SWEEPS[dimension].setting(size) };
}

export interface Choice {
  readonly quick?: boolean;
  /** Instead of the usual ones. */
  readonly sizes?: readonly number[];
  /** Larger ones are left out. */
  readonly upTo?: number;
}

/**
 * Smallest first, since history and keys only grow; each once. Throws RangeError when none is left.
 */
export function sizesOf(dimension: Dimension, { quick = false, sizes, upTo = Infinity }: Choice = {}): number[] {
  const { full, quick: short } = SWEEPS[dimension].sizes;
  const chosen = [...new Set(sizes ?? (quick ? short : full))].filter((size) => size <= upTo);
  if (chosen.length === 0) throw new RangeError(`no size of ${dimension} up to ${upTo}`);
  return chosen.sort((a, b) => a - b);
}
