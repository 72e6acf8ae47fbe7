/**
 * What servers say of their rows at the `craft.verify` commands of the log, put side by side for
 * `craft verify` (T4). Pure.
 *
 *     hear ──▶ a mark that every server has looked at ──▶ judge: each server against the majority
 */
import type { ServerStatus, StateStatus } from '../../shared/client/index.js';
import type { MergedIndex } from '../../shared/raft/entry.js';

export type Verified = NonNullable<StateStatus['verified']>;

/**
 * Against a majority of the voters; `undecided`: no majority has the same; `missing`: the server
 * has not said what it has.
 */
type Verdict = 'equal' | 'differs' | 'undecided' | 'missing';

/** One server, as it is printed. */
export interface VerifyLine {
  readonly server: string;
  readonly ok: boolean;
  readonly verdict: Verdict;
  readonly mergedIndex?: MergedIndex;
  readonly checksum?: string;
  /** In all tables. */
  readonly rows?: number;
  /** Those in which it differs from the majority. */
  readonly tables?: readonly string[];
  readonly error?: string;
}

/** Marks that are remembered. */
const MARKS_MAX = 64;

export class Verification {
  /** For each mark what the servers had there. */
  private readonly marks = new Map<MergedIndex, Map<string, Verified>>();
  private readonly servers = new Map<string, StateStatus | undefined>();
  private voters = new Set<string>();

  /** Marks from this merged index on count. */
  constructor(readonly from: number) {}

  /** What the servers say of themselves now; those that do not answer are left out. */
  hear(statuses: readonly ServerStatus[]): void {
    for (const name of this.servers.keys()) this.servers.set(name, undefined);
    for (const { server, state } of statuses) {
      this.servers.set(server, state);
      if (state?.verified !== undefined) this.keep(server, state.verified);
    }
    const voters = votersOf(statuses);
    if (voters.length > 0) this.voters = new Set(voters);
  }

  /** Voters that do not answer, or whose applier does not. */
  get missing(): string[] {
    return [...this.voters].filter((server) => this.servers.get(server) === undefined);
  }

  /** No server is left that could be waited for: those that answer are known to differ. */
  get isFutile(): boolean {
    return ![...this.servers.values()].some(isCompared);
  }

  /**
   * The newest mark that counts and that every server has looked at which answers and is not known
   * to differ.
   */
  get settled(): number | undefined {
    const names = [...this.servers].flatMap(([name, state]) => (isCompared(state) ? [name] : []));
    if (names.length === 0) return undefined;
    const all = [...this.marks].filter(([mark, at]) => mark >= this.from && names.every((name) => at.has(name)));
    return all.length === 0 ? undefined : Math.max(...all.map(([mark]) => mark));
  }

  /**
   * Every server is past `reached` and at rest, and there is no mark that all of them have looked
   * at. One that was still busy with another mark, or began anew, has left one out.
   */
  needsMark(reached: number): boolean {
    const states = [...this.servers.values()].filter(isCompared);
    const isAtRest = states.every((state) => state.appliedIndex >= reached && state.verifying === undefined);
    return states.length > 0 && isAtRest && this.settled === undefined;
  }

  /** One line for each server, in order of name. */
  judge(): VerifyLine[] {
    const names = [...new Set([...this.servers.keys(), ...this.voters])].sort();
    return names.map((name) => this.lineOf(name));
  }

  private lineOf(server: string): VerifyLine {
    const state = this.servers.get(server);
    const mark = this.newestOf(server);
    const own = mark === undefined ? undefined : this.marks.get(mark)?.get(server);
    const majority = mark === undefined ? undefined : this.majorityAt(mark);
    const tables = own === undefined || majority === undefined ? [] : different(own, majority);
    const seen = { ...(own && described(own)), ...(tables.length > 0 && { tables }) };
    const line = (verdict: Verdict, error: string) => ({ server, ok: false, verdict, ...seen, error });
    if (state === undefined) return line('missing', 'it does not answer, or its applier does not');
    if (state.divergence !== undefined) return line('differs', state.divergence);
    if (own === undefined) {
      return line('missing', state.error ?? 'it has not added up its rows in time');
    }
    if (majority === undefined) return line('undecided', 'no majority of servers has the same');
    if (votedFor(own) === votedFor(majority)) return { server, ok: true, verdict: 'equal', ...seen };
    return line(
      'differs',
      tables.length > 0 ? 'a majority has other rows' : 'a majority has other outcomes of the same commands',
    );
  }

  /**
   * The mark at which a server is judged: the settled one, else the newest that counts; of one that
   * is known to differ any.
   */
  private newestOf(server: string): number | undefined {
    const { settled } = this;
    if (settled !== undefined && this.marks.get(settled)?.has(server) === true) return settled;
    const isKnown = this.servers.get(server)?.divergence !== undefined;
    const all = [...this.marks].flatMap(([mark, at]) =>
      at.has(server) && (isKnown || mark >= this.from) ? [mark] : [],
    );
    const compared = isKnown ? all.filter((mark) => this.majorityAt(mark) !== undefined) : [];
    const candidates = compared.length > 0 ? compared : all;
    return candidates.length === 0 ? undefined : Math.max(...candidates);
  }

  /** What a majority of the voters has at a mark. */
  private majorityAt(mark: MergedIndex): Verified | undefined {
    const votes = [...(this.marks.get(mark) ?? [])].flatMap(([name, one]) => (this.voters.has(name) ? [one] : []));
    const majority = Math.floor(this.voters.size / 2) + 1;
    return votes.find((vote) => votes.filter((other) => votedFor(other) === votedFor(vote)).length >= majority);
  }

  private keep(server: string, verified: Verified): void {
    const { mergedIndex } = verified;
    const at = this.marks.get(mergedIndex) ?? new Map<string, Verified>();
    at.set(server, verified);
    this.marks.set(mergedIndex, at);
    if (this.marks.size > MARKS_MAX) this.marks.delete(Math.min(...this.marks.keys()));
  }
}

/** A server that differs looks at its rows no more. */
function isCompared(state: StateStatus | undefined): state is StateStatus {
  return state !== undefined && state.divergence === undefined;
}

/** The voters of group 0, as its leader knows them, or all that answer. */
function votersOf(statuses: readonly ServerStatus[]): readonly string[] {
  const groups = statuses.flatMap(({ groups }) => groups.filter(({ group }) => group === 0));
  const known = groups.find(({ role }) => role === 'leader') ?? groups.find(({ voters }) => voters !== undefined);
  return known?.voters ?? statuses.map(({ server }) => server);
}

function votedFor({ checksum, resultsChecksum }: Verified): string {
  return `${checksum} ${resultsChecksum}`;
}

function described({ mergedIndex, checksum, tables }: Verified) {
  return { mergedIndex, checksum, rows: tables.reduce((sum, { rows }) => sum + rows, 0) };
}

/** Names of the tables that are not the same. */
function different(a: Verified, b: Verified): string[] {
  const textOf = ({ tables }: Verified, name: string) => {
    const table = tables.find((one) => one.name === name);
    return table === undefined ? undefined : `${table.rows} ${table.checksum}`;
  };
  const names = new Set([...a.tables, ...b.tables].map(({ name }) => name));
  return [...names].filter((name) => textOf(a, name) !== textOf(b, name)).sort();
}
