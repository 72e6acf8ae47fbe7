/**
 * Servers compare what they have at round merged indexes: the running checksums over the merged log and over the outcomes (T4). Equal
 * logs with unequal outcomes mean a handler that is not deterministic; unequal logs mean worse. Pure.
 *
 * Whoever differs from so many others that it cannot be in the majority stops. A server that differs from one other may be
 * the one that is right: it waits for a third opinion until its own next checkpoint, and without one it stops too: of a
 * divergence that nobody can judge, nobody shall be trusted.
 */
import { z } from 'zod';
import type { Index, ServerId } from '../../shared/raft/entry.js';

const checksum = z.string().regex(/^[0-9a-f]{16}$/);

/** What is published on `<c>.checkpoint`, as JSON. */
export const checkpointMessage = z.object({
  server: z.string().min(1).max(64),
  merged_index: z.number().int().min(1),
  checksum,
  results_checksum: checksum,
});
export type CheckpointMessage = z.output<typeof checkpointMessage>;

/** What a comparison came to: nothing to say, a difference that others have to judge, or the end. */
export type Verdict =
  | { readonly type: 'fine' }
  | { readonly type: 'differs'; readonly message: string }
  | { readonly type: 'stop'; readonly message: string };

const FINE: Verdict = { type: 'fine' };
/** Checkpoints that are remembered: own ones for servers behind, others' for when this one gets there. */
const REMEMBERED = 1_024;

interface Round {
  own: CheckpointMessage | undefined;
  readonly others: Map<ServerId, CheckpointMessage>;
}

export class Checkpoints {
  /** By merged index, oldest first. */
  private readonly rounds = new Map<Index, Round>();
  /** A difference that waits for a third opinion. */
  private pending: { readonly mergedIndex: Index; readonly message: string } | undefined;

  constructor(
    private readonly server: ServerId,
    private servers: readonly ServerId[],
  ) {}

  /** The members of the cluster have changed (T11). */
  setServers(servers: readonly ServerId[]): void {
    this.servers = servers;
  }

  /** This server has reached a checkpoint. */
  reached(own: CheckpointMessage): Verdict {
    const { pending } = this;
    if (pending !== undefined && own.merged_index > pending.mergedIndex)
      return { type: 'stop', message: pending.message };
    const round = this.round(own.merged_index);
    if (round === undefined) return FINE;
    round.own = own;
    return this.judge(round);
  }

  /** Another server says what it has. Messages of this server itself and of strangers say nothing. */
  heard(other: CheckpointMessage): Verdict {
    if (other.server === this.server || !this.servers.includes(other.server)) return FINE;
    const round = this.round(other.merged_index);
    if (round === undefined) return FINE;
    round.others.set(other.server, other);
    return this.judge(round);
  }

  private judge({ own, others }: Round): Verdict {
    if (own === undefined) return FINE;
    const different = [...others.values()].filter((other) => !isEqual(own, other));
    const [first] = different;
    if (first === undefined) return FINE;
    const agreeing = 1 + others.size - different.length;
    if (agreeing * 2 > this.servers.length) {
      if (this.pending?.mergedIndex === own.merged_index) this.pending = undefined;
      return {
        type: 'differs',
        message: `${describe(own, first)}; a majority agrees with ${own.server}, which goes on`,
      };
    }
    const message = `${describe(own, first)}; ${advice(own, first)}`;
    const possible = this.servers.length - different.length;
    if (possible * 2 <= this.servers.length) return { type: 'stop', message };
    this.pending ??= { mergedIndex: own.merged_index, message };
    return {
      type: 'differs',
      message: `${describe(own, first)}; waiting for another server to tell which one is right`,
    };
  }

  private round(mergedIndex: Index): Round | undefined {
    const known = this.rounds.get(mergedIndex);
    if (known !== undefined) return known;
    if (this.rounds.size >= REMEMBERED) {
      const oldest = Math.min(...this.rounds.keys());
      if (mergedIndex < oldest) return undefined;
      this.rounds.delete(oldest);
    }
    const added: Round = { own: undefined, others: new Map() };
    this.rounds.set(mergedIndex, added);
    return added;
  }
}

function isEqual(a: CheckpointMessage, b: CheckpointMessage): boolean {
  return a.checksum === b.checksum && a.results_checksum === b.results_checksum;
}

function describe(own: CheckpointMessage, other: CheckpointMessage): string {
  const log = own.checksum !== other.checksum;
  const [what, mine, theirs] = log
    ? ['merged logs', own.checksum, other.checksum]
    : ['outcomes of the same commands', own.results_checksum, other.results_checksum];
  return `servers ${own.server} and ${other.server} have different ${what} up to merged index ${own.merged_index}: checksum ${mine} at ${own.server}, ${theirs} at ${other.server}`;
}

function advice(own: CheckpointMessage, other: CheckpointMessage): string {
  const cause =
    own.checksum === other.checksum
      ? 'a command handler that is not deterministic, different versions of the state machine, or a database that was changed by hand'
      : 'damage to a log store or to the merged-log stream';
  const [what, both] = own.checksum === other.checksum ? ['', 'it is'] : [', remove its merged-log stream', 'both are'];
  return (
    `the cause is ${cause}. To rebuild the server that differs from the others: stop its services, repair the cause, drop its database and ` +
    `create it again, empty${what}, and start its services: ${both} made anew from the log`
  );
}
