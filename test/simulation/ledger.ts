/**
 * What is known of the whole cluster from outside: every entry ever made, the committed logs, the
 * merged log.
 */
import type { GroupId, LogEntry, LogIndex, Term } from '../../shared/raft/entry.js';
import type { CommandFields } from '../../shared/wire/command.js';

/** An entry as its leader made it. */
export interface Created {
  readonly entry: LogEntry;
  readonly previousTerm: Term;
  /** Null for what is no command. */
  readonly command: CommandFields | null;
}

export interface MergedPlace {
  readonly group: number;
  readonly entry: LogEntry;
  readonly created: Created | undefined;
}

export class Ledger {
  /** By group, then by index and term. */
  private readonly created: Map<number, Created>[];
  /** By group; committed[g][i] has index i + 1. */
  readonly committed: LogEntry[][];
  /** The term of the leader that committed it, by group. */
  readonly committedInTerm: Term[][];
  /** merged[i] has merged index i + 1. */
  readonly merged: MergedPlace[] = [];

  constructor(groups: number) {
    this.created = Array.from({ length: groups }, () => new Map());
    this.committed = Array.from({ length: groups }, () => []);
    this.committedInTerm = Array.from({ length: groups }, () => []);
  }

  find(group: GroupId, index: LogIndex, term: Term): Created | undefined {
    return this.created[group]?.get(index * 2 ** 20 + term);
  }

  add(group: number, created: Created): void {
    this.created[group]?.set(created.entry.index * 2 ** 20 + created.entry.term, created);
  }

  committedAt(group: GroupId, index: LogIndex): LogEntry | undefined {
    return this.committed[group]?.[index - 1];
  }
}
