/**
 * Faults that the simulator has found and that are not mended yet. A campaign that meets one of
 * them goes on; a test shows that each still fails, so that an entry goes when its fault does.
 */
export interface KnownSeed {
  readonly seed: number;
  /** What is wrong, in words. */
  readonly reason: string;
}

export const KNOWN_SEEDS: readonly KnownSeed[] = [];

export function knownReason(seed: number): string | undefined {
  return KNOWN_SEEDS.find((known) => known.seed === seed)?.reason;
}
