/** Who votes, as a replica tells the applier of its own server (T11). JSON. */
import { z } from 'zod';

export const votersReply = z.object({ voters: z.array(z.string()) });

/** @param groups those of one server: a server that votes in any of them counts */
export function encodeVoters(
  groups: readonly { readonly configuration: { readonly voters: readonly string[] } }[],
): string {
  const voters = new Set(groups.flatMap(({ configuration }) => configuration.voters));
  return JSON.stringify({ voters: [...voters] } satisfies z.output<typeof votersReply>);
}
