/** Changes of one group's members, as its leader answers them: `<c>.group.<g>.configure` (T11). */
import { z } from 'zod';
import type { ConfigurationChange, LogIndex, PlacedConfiguration } from '../../shared/raft/entry.js';
import type { ConfigureRefusal } from '../../shared/raft/membership.js';
import { CraftError } from '../../shared/wire/errors.js';
import { parseJson } from '../../shared/wire/json.js';

const request = z.object({
  type: z.enum(['add', 'promote', 'demote', 'remove']),
  server: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/, 'letters, digits, _ and -, at most 32'),
});

/** What a group's leader says of its members: who they are, and whether that is committed. */
export interface MembersReply {
  readonly ok: true;
  readonly voters: readonly string[];
  readonly learners: readonly string[];
  readonly committed: boolean;
}

/**
 * The change that a message asks for; null for an empty one, which only asks who the members are.
 * @throws CraftError
 */
export function parseChange(data: Uint8Array): ConfigurationChange | null {
  return data.length === 0 ? null : parseJson(data, request);
}

export function membersReply(configuration: PlacedConfiguration, commitIndex: LogIndex): MembersReply {
  const { voters, learners, index } = configuration;
  return { ok: true, voters, learners, committed: index <= commitIndex };
}

export function configureError(reason: ConfigureRefusal, { type, server }: ConfigurationChange): CraftError {
  switch (reason) {
    case 'not-leader':
      return new CraftError('NOT_LEADER', 'this server does not lead the group now, or is handing it over');
    case 'pending':
      return new CraftError('UNAVAILABLE', 'another change of members is not committed yet: one at a time');
    case 'checking':
      return new CraftError('UNAVAILABLE', 'waiting to hear from enough voters');
    case 'behind':
      return new CraftError('UNAVAILABLE', `${server} has not caught up with the log yet`);
    case 'quorum':
      return new CraftError('REJECTED', `to ${type} ${server} would leave the group without a quorum of live voters`);
    case 'not-a-member':
      return new CraftError(
        'INVALID_ARGUMENT',
        type === 'promote' ? `${server} is not a learner: add it first` : `${server} is a voter: demote it first`,
      );
    case 'clock':
      return new CraftError('UNAVAILABLE', "this server's clock is too far off to stamp entries");
  }
}
