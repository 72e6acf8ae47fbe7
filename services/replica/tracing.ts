/**
 * Spans of the replica: craft.append and craft.replicate from the writes, craft.wait for each group
 * whose watermark the entry waits for. Also craft.commit from what the core reports, and
 * craft.command where no applier answers. With tracing off none of this runs; of an entry that is
 * not sampled only its trace field is looked at.
 */

import type { Attributes } from '@opentelemetry/api';
import type { WriteBatch } from '../../shared/log-store/port.js';
import { EntryKind, type GroupId, type LogEntry, type LogPosition } from '../../shared/raft/entry.js';
import type { Group } from '../../shared/raft/group.js';
import { ofGroup } from '../../shared/raft/lists.js';
import { receivedAttributes } from '../../shared/telemetry/conventions.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { SpanAttributes, SpanEvent, Tracing } from '../../shared/telemetry/tracing.js';
import { traceparentOf } from '../../shared/wire/command.js';
import { entryBody } from '../../shared/wire/entry-block.js';
import type { ClientCommand } from './commands.js';
import type { Placed } from './core/effect.js';

/** Sampled entries that wait at once; of more there are no spans. */
const WAITING_MAX = 4_096;

interface Waiting {
  readonly where: LogPosition & { readonly group: GroupId };
  /** Context of craft.server. */
  readonly parent: string;
  readonly sinceUs: number;
  /** The groups whose watermark has not passed it yet. */
  readonly awaited: Set<GroupId>;
}

export class ReplicaTracing {
  private readonly received: Attributes;
  private waiting: Waiting[] = [];

  constructor(
    private readonly tracing: Tracing,
    /** The subject on which this server gets entries. */
    rpcSubject: string,
    private readonly groups: readonly Pick<Group, 'role' | 'watermark' | 'termAt'>[],
  ) {
    this.received = receivedAttributes(rpcSubject);
  }

  /**
   * A write begins; returns what to call when it is durable, or undefined when it carries no
   * sampled entry.
   */
  onWrite(batch: WriteBatch): (() => void) | undefined {
    if (!this.tracing.enabled) return undefined;
    let sampled: { group: GroupId; entry: LogEntry; traceparent: string; isLeader: boolean }[] | undefined;
    for (const { group, entries } of batch.groups) {
      const isLeader = this.leads(group);
      for (const entry of entries ?? []) {
        const traceparent = entry.kind === EntryKind.command ? traceparentOf(entryBody(entry)) : '';
        if (traceparent === '') continue;
        sampled ??= [];
        sampled.push({ group, entry, traceparent, isLeader });
      }
    }
    if (sampled === undefined) return undefined;
    const found = sampled;
    const startUs = spanTimeUs();
    return () => {
      const endUs = spanTimeUs();
      for (const { group, entry, traceparent, isLeader } of found) {
        const { index, term, timestamp } = entry;
        const where = { group, index, term, timestamp };
        const parent = this.tracing.serverOf(traceparent);
        if (isLeader) this.tracing.recordSpan('craft.append', parent, startUs, endUs, where);
        else this.tracing.recordSpan('craft.replicate', parent, startUs, endUs, { ...where, more: this.received });
        this.await(group, entry, parent, endUs);
      }
    };
  }

  /** Watermarks may have moved. */
  onTurn(): void {
    if (this.waiting.length === 0) return;
    const nowUs = spanTimeUs();
    const lowest = Math.min(...this.groups.map(({ watermark }) => watermark));
    for (const one of this.waiting) this.look(one, nowUs);
    this.waiting = this.waiting.filter(({ where }) => where.timestamp > lowest);
  }

  /**
   * A sampled entry is durable here: until every group's watermark has passed it, it has no place
   * in the merged log.
   */
  private await(group: GroupId, { index, term, timestamp }: LogEntry, parent: string, sinceUs: number): void {
    const awaited = new Set(this.groups.flatMap(({ watermark }, id) => (watermark < timestamp ? [id] : [])));
    if (awaited.size === 0 || this.waiting.length >= WAITING_MAX) return;
    this.waiting.push({ where: { group, index, term, timestamp }, parent, sinceUs, awaited });
  }

  private look({ where, parent, sinceUs, awaited }: Waiting, nowUs: number): void {
    for (const id of awaited) {
      if (ofGroup(this.groups, id).watermark < where.timestamp) continue;
      awaited.delete(id);
      // Another leader may have put another entry in its place.
      if (ofGroup(this.groups, where.group).termAt(where.index) !== where.term) continue;
      const about = { ...where, label: `group ${id}`, more: { 'craft.awaited_group': id } };
      this.tracing.recordSpan('craft.wait', parent, sinceUs, nowUs, about);
    }
  }

  private leads(group: GroupId): boolean {
    return ofGroup(this.groups, group).role === 'leader';
  }

  onCommitted(group: GroupId, placed: Placed<ClientCommand>): void {
    const { command, index, term, timestamp } = placed;
    const { span, receivedUs } = command;
    if (span === undefined) return;
    const endUs = spanTimeUs();
    const where = { group, index, term, timestamp };
    // A later leader has committed it.
    const events = this.leads(group) ? [] : [leaderChanged(group, endUs)];
    this.tracing.recordSpan('craft.commit', span.traceparent, receivedUs, endUs, { ...where, events });
    // The applier answers an `applied` command, and ends its span.
    if (command.acknowledgement === 'committed') this.end(command, endUs, where);
  }

  onOrdered(group: GroupId, placed: Placed<ClientCommand>): void {
    const { command, index, term, timestamp } = placed;
    if (command.span !== undefined) this.end(command, spanTimeUs(), { group, index, term, timestamp });
  }

  /** Nothing was appended for the command. */
  onRefused(command: ClientCommand, error: string): void {
    command.span?.end(spanTimeUs(), { ...requestOf(command), error });
  }

  /**
   * The entry lost its place, or its outcome is not known. In doubt, the applier ends craft.command
   * if the entry is applied after all.
   */
  onFailed(group: GroupId, placed: Placed<ClientCommand>, outcome: 'replaced' | 'unknown'): void {
    const { command, index, term, timestamp } = placed;
    const { span, receivedUs } = command;
    if (span === undefined) return;
    const endUs = spanTimeUs();
    const where = { group, index, term, timestamp };
    const error = outcome === 'replaced' ? 'NOT_LEADER' : 'TIMEOUT_UNKNOWN';
    const events = [leaderChanged(group, endUs)];
    this.tracing.recordSpan('craft.commit', span.traceparent, receivedUs, endUs, { ...where, error, events });
    if (outcome === 'replaced' || command.acknowledgement !== 'applied') this.end(command, endUs, { ...where, error });
  }

  private end(command: ClientCommand, endUs: number, about: SpanAttributes): void {
    command.span?.end(endUs, { ...requestOf(command), ...about });
  }
}

function leaderChanged(group: GroupId, atUs: number): SpanEvent {
  return { name: 'craft.leader_changed', atUs, attributes: { 'craft.group': group } };
}

function requestOf({ name, acknowledgement, subject }: ClientCommand): SpanAttributes {
  return { command: name, ack: acknowledgement, more: receivedAttributes(subject) };
}
