/** Measuring while each group keeps the leader that it prefers. */

export interface Steady {
  /** Measurements before this one that were dropped, because leadership moved meanwhile. */
  readonly repeats: number;
}

interface Phase {
  readonly haveLeadersMoved: boolean;
}

interface Given<P extends Phase> {
  /** Measurements at most. */
  readonly triesMax: number;
  /** Rejects when leaders do not come home. */
  readonly untilHome: () => Promise<void>;
  readonly measure: () => Promise<P>;
  readonly tell: (line: string) => void;
}

/**
 * Waits until leaders are at home, then measures, again while leadership moves meanwhile. The last
 * measurement is kept even when leadership moved, and says so. Rejects when leaders are not at home
 * before the first one.
 */
export async function steady<P extends Phase>({ triesMax, untilHome, measure, tell }: Given<P>): Promise<P & Steady> {
  await untilHome();
  for (let repeats = 0; ; repeats += 1) {
    const phase = await measure();
    if (!phase.haveLeadersMoved) return { ...phase, repeats };
    if (repeats + 1 >= triesMax) {
      tell(`  leadership moved in each of ${triesMax} measurements: the last one is kept`);
      return { ...phase, repeats };
    }
    tell('  leadership moved: measuring again');
    try {
      await untilHome();
    } catch (error) {
      tell(`  the measurement is kept: ${error instanceof Error ? error.message : error}`);
      return { ...phase, repeats };
    }
  }
}
