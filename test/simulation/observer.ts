/**
 * Sees everything that happens and tells the invariants. After every step of a server it compares
 * the server's groups with what it saw of them last, which costs next to nothing where nothing has
 * changed.
 */
import type { Acknowledgement, CommandRefusal, Placed } from '../../services/replica/core/effect.js';
import type { ReplicaCore } from '../../services/replica/core/server.js';
import type { Applied, MergedCommand } from '../../shared/engine/port.js';
import type { WriteBatch } from '../../shared/log-store/port.js';
import type { MergedRun } from '../../shared/merge/merge.js';
import {
  EntryKind,
  type GroupId,
  type LogEntry,
  type LogIndex,
  type Term,
  type Timestamp,
} from '../../shared/raft/entry.js';
import type { Group } from '../../shared/raft/group.js';
import { decodeCommand } from '../../shared/wire/command.js';
import { entryBody } from '../../shared/wire/entry-block.js';
import type { Envelope } from '../../shared/wire/envelope.js';
import type { Acknowledged, Operation, ReadResult } from './clients.js';
import type { Invariant } from './invariants/invariant.js';
import { Ledger } from './ledger.js';
import type { SimulatedCommand } from './replica.js';
import type { SimulatedServer } from './server.js';
import type { SimulatedSnapshot } from './snapshots.js';
import { Violation, type World } from './world.js';

/** What was seen of one group at one server last. */
interface Shadow {
  term: Term;
  isLeading: boolean;
  commitIndex: LogIndex;
  watermark: Timestamp;
  closed: number;
  /** terms[i] is that of index i + 1; up to the base those of what is committed. */
  terms: Term[];
  base: LogIndex;
}

const GLANCE_EVERY = 64;

export class Observer {
  readonly ledger: Ledger;
  private invariants: readonly Invariant[] = [];
  private readonly shadows: (Shadow | undefined)[][];
  private looks = 0;
  private hooks: Record<string, readonly Invariant[]> = {};

  constructor(private readonly world: World) {
    const { groups } = world.options;
    this.ledger = new Ledger(groups);
    this.shadows = Array.from({ length: world.names.length }, () => new Array<Shadow | undefined>(groups));
  }

  watch(invariants: readonly Invariant[]): void {
    this.invariants = invariants;
    const has = (hook: keyof Invariant) => this.invariants.filter((invariant) => invariant[hook] !== undefined);
    const hooks: (keyof Invariant)[] = [
      'onCreated',
      'onAppended',
      'onCommitted',
      'onMoved',
      'onSent',
      'onEnvelope',
      'onGlance',
      'onServed',
    ];
    this.hooks = Object.fromEntries(hooks.map((hook) => [hook, has(hook)]));
  }

  /** Compares what a server's groups are with what they were. */
  look(server: SimulatedServer, core: ReplicaCore<SimulatedCommand>): void {
    const shadows = this.shadows[server.index] ?? [];
    for (let id = 0; id < core.groups.length; id++) {
      const group = core.groups[id];
      if (group === undefined) continue;
      const shadow = shadows[id] ?? this.begin(server, id);
      shadows[id] = shadow;
      this.compareLog(server, id, group, shadow);
      this.compareRole(server, id, group, shadow);
      this.compareProgress(server, id, group, shadow);
    }
    if (++this.looks % GLANCE_EVERY === 0) {
      for (const invariant of this.hooks['onGlance'] ?? []) invariant.onGlance?.(server, core);
    }
  }

  private begin(server: SimulatedServer, group: GroupId): Shadow {
    const stored = server.disk.groups.get(group);
    const base = stored?.head.base.index ?? 0;
    const covered = (this.ledger.committed[group] ?? []).slice(0, base).map((entry) => entry.term);
    const terms = [...covered, ...(stored?.entries ?? []).map((entry) => entry.term)];
    return { term: 0, isLeading: false, commitIndex: 0, watermark: -1, closed: 0, terms, base };
  }

  private compareLog(server: SimulatedServer, id: GroupId, group: Group, shadow: Shadow): void {
    const { terms } = shadow;
    const base = group.base.index;
    if (base !== shadow.base) {
      for (const invariant of this.invariants) invariant.onBase?.(server, id, group);
      for (let at = shadow.base; at < base; at++) terms[at] = this.ledger.committed[id]?.[at]?.term ?? 0;
      shadow.base = base;
    }
    let kept = Math.min(terms.length, group.lastIndex);
    // Logs with equal terms at an index are equal up to there (log matching, checked entry by entry
    // as they come).
    while (kept > base && group.termAt(kept) !== terms[kept - 1]) kept -= 1;
    if (kept < terms.length) {
      terms.length = kept;
      const wasLeading = shadow.isLeading && group.role === 'leader' && group.term === shadow.term;
      for (const invariant of this.invariants) invariant.onTruncated?.(server, id, kept + 1, wasLeading);
    }
    for (let index = kept + 1; index <= group.lastIndex; index++) {
      const entry = group.at(index);
      if (entry === undefined)
        throw new Violation('assertion', `${server.name}: new entry ${index} is not in memory`, id);
      this.append(server, id, entry, terms[index - 2] ?? 0);
      terms.push(entry.term);
    }
  }

  private append(server: SimulatedServer, id: GroupId, entry: LogEntry, previousTerm: Term): void {
    let created = this.ledger.find(id, entry.index, entry.term);
    if (created === undefined) {
      const command = entry.kind === EntryKind.command ? decodeCommand(entryBody(entry)) : null;
      created = { entry, previousTerm, command };
      this.ledger.add(id, created);
      this.world.note(
        'creates',
        server.index,
        () => `group ${id} ${describe(entry)} ${command?.id ?? ''} ${command?.reply ?? ''}`,
      );
      for (const invariant of this.hooks['onCreated'] ?? []) invariant.onCreated?.(server, id, created);
    }
    this.world.trace.mix(entry.timestamp);
    for (const invariant of this.hooks['onAppended'] ?? []) {
      invariant.onAppended?.(server, id, entry, { ...created, previousTerm });
    }
  }

  private compareRole(server: SimulatedServer, id: GroupId, group: Group, shadow: Shadow): void {
    const isLeading = group.role === 'leader';
    if (isLeading && (!shadow.isLeading || group.term !== shadow.term)) {
      this.world.counts.elections += 1;
      for (const invariant of this.invariants) invariant.onLeader?.(server, id, group);
    }
    if (shadow.term !== group.term) this.world.trace.mix(group.term);
    shadow.isLeading = isLeading;
    shadow.term = group.term;
  }

  private compareProgress(server: SimulatedServer, id: GroupId, group: Group, shadow: Shadow): void {
    const { commitIndex, watermark, closed } = group;
    if (closed !== shadow.closed) {
      shadow.closed = closed;
      if (closed > 0)
        this.world.note('claims', server.index, () => `group ${id} closes ${closed} at ${group.lastIndex}`);
    }
    if (commitIndex === shadow.commitIndex && watermark === shadow.watermark) return;
    if (commitIndex < shadow.commitIndex) throw new Violation('state machine safety', 'a commit index went back', id);
    const committed = this.ledger.committed[id] ?? [];
    for (let index = shadow.commitIndex + 1; index <= commitIndex; index++) {
      // What an installed snapshot covers was committed by others; the own disk may still hold
      // something else there.
      const entry = index <= group.base.index ? undefined : (group.at(index) ?? server.disk.at(id, index));
      if (entry === undefined) continue;
      const isFirst = committed.length < index;
      for (const invariant of this.hooks['onCommitted'] ?? [])
        invariant.onCommitted?.(server, id, entry, group, isFirst);
      if (!isFirst) continue;
      committed.push(entry);
      this.ledger.committedInTerm[id]?.push(group.term);
      this.world.counts.commits += 1;
    }
    shadow.commitIndex = commitIndex;
    shadow.watermark = watermark;
    this.world.note('commits', server.index, () => `group ${id} up to ${commitIndex} watermark ${watermark}`);
    this.world.trace.mix(commitIndex);
    this.world.trace.mix(watermark);
    for (const invariant of this.hooks['onMoved'] ?? []) invariant.onMoved?.(server, id, group);
  }

  onSend(server: SimulatedServer, core: ReplicaCore<SimulatedCommand>, envelope: Envelope): void {
    for (const message of envelope.messages) {
      for (const invariant of this.hooks['onSent'] ?? []) invariant.onSent?.(server, core, message);
    }
    for (const invariant of this.hooks['onEnvelope'] ?? []) invariant.onEnvelope?.(server, envelope);
  }

  onLanded(server: SimulatedServer, batch: WriteBatch): void {
    if (batch.promiseLimit !== undefined)
      this.world.note('promises', server.index, () => `durable limit ${batch.promiseLimit}`);
    for (const invariant of this.invariants) invariant.onLanded?.(server, batch);
  }

  onStart(server: SimulatedServer): void {
    this.world.note('start', server.index, () => '');
    for (const invariant of this.invariants) invariant.onStart?.(server);
  }

  onCrash(server: SimulatedServer): void {
    this.shadows[server.index]?.fill(undefined);
  }

  onMerged(server: SimulatedServer, run: MergedRun): void {
    this.world.trace.mix(run.after.mergedIndex);
    const { merged } = this.ledger;
    for (const invariant of this.invariants) invariant.onMerged?.(server, run);
    for (let at = merged.length + 1 - run.firstMergedIndex; at < run.entries.length; at++) {
      const entry = run.entries[at];
      const group = run.groups[at];
      if (entry === undefined || group === undefined) continue;
      merged.push({ group, entry, created: this.ledger.find(group, entry.index, entry.term) });
      this.world.counts.merged += 1;
    }
  }

  onStored(server: SimulatedServer, run: MergedRun): void {
    for (const invariant of this.invariants) invariant.onStored?.(server, run);
  }

  onApplied(server: SimulatedServer, commands: readonly MergedCommand[], applied: readonly Applied[]): void {
    for (const invariant of this.invariants) invariant.onApplied?.(server, commands, applied);
  }

  onPlaced(
    what: 'committed' | 'ordered',
    server: SimulatedServer,
    group: GroupId,
    placed: Placed<SimulatedCommand>,
  ): void {
    for (const invariant of this.invariants) invariant.onPlaced?.(what, server, group, placed);
  }

  /** A server's applier says that its state differs from that of a majority. */
  onVerdict(server: SimulatedServer, reason: string): void {
    for (const invariant of this.invariants) invariant.onVerdict?.(server, reason);
  }

  onVerdictKept(server: SimulatedServer): void {
    for (const invariant of this.invariants) invariant.onVerdictKept?.(server);
  }

  /** A server's state becomes that of a snapshot. */
  onInstalled(server: SimulatedServer, snapshot: SimulatedSnapshot): void {
    for (const invariant of this.invariants) invariant.onInstalled?.(server, snapshot);
  }

  onConfirmed(server: SimulatedServer, snapshot: SimulatedSnapshot): void {
    for (const invariant of this.invariants) invariant.onConfirmed?.(server, snapshot);
  }

  onDatabaseLost(server: SimulatedServer): void {
    for (const invariant of this.invariants) invariant.onDatabaseLost?.(server);
  }

  /** Something that was read from the state of a server goes to a client. */
  onServed(server: SimulatedServer): void {
    for (const invariant of this.hooks['onServed'] ?? []) invariant.onServed?.(server);
  }

  onInvoked(operation: Operation): void {
    const { number, kind, level, after } = operation;
    this.world.note('invoke', -1, () => `${number} ${kind} ${kind === 'write' ? level : ''} after ${after}`);
    for (const invariant of this.invariants) invariant.onInvoked?.(operation);
  }

  onAcknowledged(operation: Operation, level: Acknowledgement, tag: string, what: Acknowledged): void {
    this.world.note('ack', -1, () => `${tag} ${level} group ${what.group} timestamp ${what.timestamp}`);
    for (const invariant of this.invariants) invariant.onAcknowledged?.(operation, level, tag, what);
  }

  onRead(operation: Operation, result: ReadResult): void {
    this.world.note('read', -1, () => `${operation.number} at merged index ${result.mergedIndex}`);
    for (const invariant of this.invariants) invariant.onRead?.(operation, result);
  }

  onRefused(operation: Operation, tag: string, reason: CommandRefusal): void {
    for (const invariant of this.invariants) invariant.onRefused?.(operation, tag, reason);
  }

  onEnded(operation: Operation): void {
    this.world.trace.mix(operation.number * 4 + operation.state.length);
  }

  onFinished(): void {
    for (const invariant of this.invariants) invariant.onFinished?.();
  }
}

function describe(entry: LogEntry): string {
  return `entry ${entry.index} term ${entry.term} at ${entry.timestamp}`;
}
