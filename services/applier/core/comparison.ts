/**
 * Servers compare what they have made of the merged log (T4): at round merged indexes, where a
 * command asks for it (`craft.verify`), and now and then wherever they are. Pure.
 *
 * A round is one merged index. A server's value there is its running checksums over the log and
 * over the outcomes and, at a `craft.verify`, the checksum of its rows. Every voter has one vote:
 *
 *     a majority has this server's value      agreed: a snapshot taken there counts
 *     a majority has another value            this server differs: a verdict, which is kept until it is rebuilt
 *     values differ, none has a majority      undecided: this server is not trusted until a later round is agreed
 *
 * A server with a verdict is silent and has no vote.
 */
import { z } from 'zod';
import type { MergedIndex, MonotonicMs, ServerId } from '../../../shared/raft/entry.js';

const checksum = z.string().regex(/^[0-9a-f]{16}$/);

/** What is published on `<c>.checkpoint`, as JSON. */
export const checkpointMessage = z.object({
  server: z.string().min(1).max(64),
  merged_index: z.number().int().min(1),
  checksum,
  results_checksum: checksum,
  /** At a `craft.verify`. */
  rows_checksum: checksum.optional(),
  /** The others are to say again what they have there. */
  ask: z.boolean().optional(),
});
export type CheckpointMessage = z.output<typeof checkpointMessage>;

type Judgement = 'open' | 'agreed' | 'undecided' | 'differs';

export interface ComparisonEvents {
  /** To all servers. */
  tell(message: CheckpointMessage): void;
  /** A majority has another value: final, until this server is rebuilt. */
  differs(reason: string): void;
  /** The value of this server at this `craft.verify` is that of a majority. */
  confirmed(mergedIndex: MergedIndex): void;
  /** Values differ: said once a difference. */
  undecided(message: string): void;
  /** Another server differs from a majority that this one belongs to. */
  otherDiffers(message: string): void;
}

/**
 * Rounds that are remembered: own values for servers that ask, others' for when this server gets
 * there.
 */
const ROUNDS_MAX = 1_024;
/** Ends of batches that are remembered, for others' values there. */
const ENDS_MAX = 1_024;
/**
 * A difference is taken for one that stays after this (milliseconds): the others' votes are on
 * their way.
 */
const GRACE_MS = 2_000;
/** Between two times that the others are asked again (milliseconds). */
const ASK_MS = 5_000;
/** Between two times that the own position is told, whatever it is (milliseconds). */
const TELL_MS = 5_000;
/** How often the votes on the newest rows are asked for. */
const ASKS_MAX = 12;

interface Round {
  readonly mergedIndex: MergedIndex;
  readonly hasRows: boolean;
  own: CheckpointMessage | undefined;
  readonly others: Map<ServerId, CheckpointMessage>;
  /** A difference of another server has been told. */
  isTold: boolean;
}

/** The rows of this server, for which votes may still come. */
interface OpenVote {
  readonly round: Round;
  asks: number;
  askAtMs: MonotonicMs;
}

interface Doubt {
  readonly round: Round;
  readonly sinceMs: MonotonicMs;
  askAtMs: MonotonicMs;
}

export class Comparison {
  /** By kind and merged index, oldest first. */
  private rounds = new Map<string, Round>();
  /** Values at the ends of recent batches, by merged index. */
  private ends = new Map<MergedIndex, CheckpointMessage>();
  private doubt: Doubt | null = null;
  private openVote: OpenVote | null = null;
  private nowMs: MonotonicMs = 0;
  private tellAtMs: MonotonicMs = 0;
  private last: CheckpointMessage | undefined;
  private isSilent = false;

  constructor(
    private readonly server: ServerId,
    private voters: readonly ServerId[],
    private readonly events: ComparisonEvents,
  ) {}

  /** The voters of the cluster have changed (T11). */
  setVoters(voters: readonly ServerId[]): void {
    this.voters = voters;
  }

  /** This server has a verdict: it says nothing more, and hears nothing, until `begin`. */
  end(): void {
    this.isSilent = true;
    this.forget();
  }

  /** The state is another one now, and has no verdict. */
  begin(): void {
    this.isSilent = false;
    this.forget();
  }

  get isVoter(): boolean {
    return this.voters.includes(this.server);
  }

  /** Servers differ; the votes of others may be on their way. */
  get isInDoubt(): boolean {
    return this.doubt !== null;
  }

  /** Servers differ, and no majority says which is right. */
  get isUndecided(): boolean {
    return this.doubt !== null && this.nowMs - this.doubt.sinceMs >= GRACE_MS;
  }

  get nextWakeMs(): MonotonicMs {
    if (this.isSilent) return Number.POSITIVE_INFINITY;
    const { doubt, openVote, last, tellAtMs } = this;
    const never = Number.POSITIVE_INFINITY;
    return Math.min(doubt?.askAtMs ?? never, openVote?.askAtMs ?? never, last === undefined ? never : tellAtMs);
  }

  advance(nowMs: MonotonicMs): void {
    this.nowMs = nowMs;
    if (this.isSilent) return;
    const { doubt, openVote, last } = this;
    if (doubt !== null && nowMs >= doubt.askAtMs) {
      doubt.askAtMs = nowMs + ASK_MS;
      this.askAgain(doubt.round);
    }
    if (openVote !== null && nowMs >= openVote.askAtMs) {
      openVote.askAtMs = nowMs + ASK_MS;
      openVote.asks += 1;
      this.askAgain(openVote.round);
      if (openVote.asks >= ASKS_MAX) this.openVote = null;
    }
    if (last !== undefined && nowMs >= this.tellAtMs) {
      this.tellAtMs = nowMs + TELL_MS;
      this.events.tell(last);
    }
  }

  /** A batch has ended here. Told only now and then. */
  ended(mergedIndex: MergedIndex, checksum: string, resultsChecksum: string): void {
    if (this.isSilent) return;
    const own = this.message(mergedIndex, checksum, resultsChecksum);
    this.last = own;
    this.ends.set(mergedIndex, own);
    if (this.ends.size > ENDS_MAX) {
      const [oldest] = this.ends.keys();
      if (oldest !== undefined) this.ends.delete(oldest);
    }
    const waiting = this.rounds.get(keyOf(mergedIndex, false));
    if (waiting !== undefined) this.settle(waiting, own);
  }

  /** This server has reached a round merged index. */
  reached(mergedIndex: MergedIndex, checksum: string, resultsChecksum: string): void {
    if (this.isSilent) return;
    this.own(this.message(mergedIndex, checksum, resultsChecksum));
  }

  /** This server has added up its rows, as they were at a `craft.verify`. */
  verified(mergedIndex: MergedIndex, checksum: string, resultsChecksum: string, rowsChecksum: string): void {
    if (this.isSilent) return;
    this.own({ ...this.message(mergedIndex, checksum, resultsChecksum), rows_checksum: rowsChecksum });
  }

  /** Another server says what it has. */
  heard(other: CheckpointMessage): void {
    if (this.isSilent || other.server === this.server || !this.voters.includes(other.server)) return;
    const round = this.roundOf(other.merged_index, other.rows_checksum !== undefined);
    if (round === undefined) return;
    round.others.set(other.server, other);
    round.own ??= round.hasRows ? undefined : this.ends.get(round.mergedIndex);
    if (round.own === undefined) return;
    if (other.ask === true) this.events.tell(round.own);
    this.judge(round);
  }

  private message(mergedIndex: MergedIndex, checksum: string, resultsChecksum: string): CheckpointMessage {
    return { server: this.server, merged_index: mergedIndex, checksum, results_checksum: resultsChecksum };
  }

  private own(own: CheckpointMessage): void {
    this.events.tell(own);
    const round = this.roundOf(own.merged_index, own.rows_checksum !== undefined);
    if (round === undefined) return;
    if (round.hasRows) this.openVote = { round, asks: 0, askAtMs: this.nowMs + ASK_MS };
    this.settle(round, own);
  }

  /** Servers that have reached it, and whose word was lost, say it again. */
  private askAgain({ own }: Round): void {
    if (own !== undefined) this.events.tell({ ...own, ask: true });
  }

  private settle(round: Round, own: CheckpointMessage): void {
    round.own = own;
    this.judge(round);
  }

  private judge(round: Round): void {
    const { own, others } = round;
    if (own === undefined) return;
    const different = [...others.values()].filter((other) => !isEqual(own, other));
    const [first] = different;
    switch (judgement(own, [...others.values()], this.voters)) {
      case 'open':
        return;
      case 'agreed':
        this.agreed(round);
        if (first === undefined || round.isTold) return;
        round.isTold = true;
        this.events.otherDiffers(
          `${describe(own, first)}; a majority agrees with ${own.server}; ${advice(own, first)}`,
        );
        return;
      case 'differs':
        // The last word of this server: perhaps the others have not heard yet what it has there.
        this.events.tell(own);
        if (first !== undefined)
          this.events.differs(`${describe(own, first)}; ${advice(own, { ...first, server: own.server })}`);
        return;
      case 'undecided':
        if (this.doubt !== null || first === undefined) return;
        this.doubt = { round, sinceMs: this.nowMs, askAtMs: this.nowMs + GRACE_MS };
        this.events.undecided(`${describe(own, first)}; no majority of servers says yet which one is right`);
    }
  }

  private agreed(round: Round): void {
    const { doubt } = this;
    // Equal rows and outcomes end any doubt of before; equal outcomes alone say nothing about rows.
    const endsIt =
      doubt !== null && round.mergedIndex >= doubt.round.mergedIndex && (round.hasRows || !doubt.round.hasRows);
    if (endsIt) this.doubt = null;
    if (this.openVote?.round === round) this.openVote = null;
    if (round.hasRows) this.events.confirmed(round.mergedIndex);
  }

  /** Undefined for one that is older than all that are remembered. */
  private roundOf(mergedIndex: MergedIndex, hasRows: boolean): Round | undefined {
    const key = keyOf(mergedIndex, hasRows);
    const known = this.rounds.get(key);
    if (known !== undefined) return known;
    if (this.rounds.size >= ROUNDS_MAX) {
      const [oldestKey, oldest] = [...this.rounds].reduce((a, b) => (b[1].mergedIndex < a[1].mergedIndex ? b : a));
      if (mergedIndex < oldest.mergedIndex) return undefined;
      this.rounds.delete(oldestKey);
    }
    const added: Round = { mergedIndex, hasRows, own: undefined, others: new Map(), isTold: false };
    this.rounds.set(key, added);
    return added;
  }

  private forget(): void {
    this.rounds = new Map();
    this.ends = new Map();
    this.doubt = null;
    this.openVote = null;
    this.last = undefined;
  }
}

/** What the votes come to for the server that `own` is of. */
function judgement(
  own: CheckpointMessage,
  others: readonly CheckpointMessage[],
  voters: readonly ServerId[],
): Judgement {
  const votes = [own, ...others].filter(({ server }) => voters.includes(server));
  const majority = Math.floor(voters.length / 2) + 1;
  const count = (value: CheckpointMessage) => votes.filter((vote) => isEqual(vote, value)).length;
  if (count(own) >= majority) return 'agreed';
  const different = votes.filter((vote) => !isEqual(vote, own));
  if (different.length === 0) return 'open';
  return different.some((vote) => count(vote) >= majority) ? 'differs' : 'undecided';
}

function keyOf(mergedIndex: MergedIndex, hasRows: boolean): string {
  return `${mergedIndex}${hasRows ? ' rows' : ''}`;
}

function isEqual(a: CheckpointMessage, b: CheckpointMessage): boolean {
  return a.checksum === b.checksum && a.results_checksum === b.results_checksum && a.rows_checksum === b.rows_checksum;
}

function describe(own: CheckpointMessage, other: CheckpointMessage): string {
  const [what, mine, theirs] =
    own.checksum !== other.checksum
      ? ['merged logs', own.checksum, other.checksum]
      : own.results_checksum !== other.results_checksum
        ? ['outcomes of the same commands', own.results_checksum, other.results_checksum]
        : ['rows', own.rows_checksum, other.rows_checksum];
  return (
    `servers ${own.server} and ${other.server} have different ${what} at merged index ${own.merged_index}: ` +
    `checksum ${mine} at ${own.server}, ${theirs} at ${other.server}`
  );
}

function advice(own: CheckpointMessage, { checksum, server }: CheckpointMessage): string {
  const cause =
    own.checksum === checksum
      ? 'a command handler that is not deterministic, different versions of the state machine, or rows that were changed by hand'
      : 'damage to a log store or to the merged-log stream';
  return `the cause is ${cause}; repair it, then run: craft rebuild ${server}`;
}
