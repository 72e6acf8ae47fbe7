/**
 * Spans of the replica: craft.append and craft.replicate from the writes, craft.commit and the end of craft.command from what
 * the core reports. With tracing off none of this runs; of an entry that is not sampled only its trace field is looked at.
 */

import type { WriteBatch } from '../../shared/log-store/port.js';
import { EntryKind, type GroupId, type LogEntry } from '../../shared/raft/entry.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import type { Tracing } from '../../shared/telemetry/tracing.js';
import { traceparentOf } from '../../shared/wire/command.js';
import { entryBody } from '../../shared/wire/entry-block.js';
import type { ClientCommand } from './commands.js';
import type { Placed } from './core/effect.js';

export class ReplicaTracing {
  constructor(
    private readonly tracing: Tracing,
    private readonly leads: (group: GroupId) => boolean,
  ) {}

  /** A write begins; returns what to call when it is durable, or undefined when it carries no sampled entry. */
  onWrite(batch: WriteBatch): (() => void) | undefined {
    if (!this.tracing.enabled) return undefined;
    const sampled: { group: GroupId; entry: LogEntry; traceparent: string; isLeader: boolean }[] = [];
    for (const { group, entries } of batch.groups) {
      const isLeader = this.leads(group);
      for (const entry of entries ?? []) {
        const traceparent = entry.kind === EntryKind.command ? traceparentOf(entryBody(entry)) : '';
        if (traceparent !== '') sampled.push({ group, entry, traceparent, isLeader });
      }
    }
    if (sampled.length === 0) return undefined;
    const startUs = spanTimeUs();
    return () => {
      const endUs = spanTimeUs();
      for (const { group, entry, traceparent, isLeader } of sampled) {
        const { index, term, timestamp } = entry;
        const name = isLeader ? 'craft.append' : 'craft.replicate';
        this.tracing.recordSpan(name, traceparent, startUs, endUs, { group, index, term, timestamp });
      }
    };
  }

  onCommitted(group: GroupId, placed: Placed<ClientCommand>): void {
    const { command, index, term, timestamp } = placed;
    if (command.span === undefined) return;
    const endUs = spanTimeUs();
    const where = { group, index, term, timestamp };
    this.tracing.recordSpan('craft.commit', command.span.traceparent, command.stampedAtUs, endUs, where);
    // The applier answers an `applied` command, and has its own span for that.
    if (command.acknowledgement !== 'ordered') this.end(command, endUs, where);
  }

  onOrdered(group: GroupId, placed: Placed<ClientCommand>): void {
    const { command, index, term, timestamp } = placed;
    if (command.span !== undefined) this.end(command, spanTimeUs(), { group, index, term, timestamp });
  }

  /** The command ended without an entry, or with one in doubt. */
  onFailed(command: ClientCommand, error: string): void {
    command.span?.end(spanTimeUs(), { command: command.name, ack: command.acknowledgement, error });
  }

  private end(command: ClientCommand, endUs: number, where: object): void {
    command.span?.end(endUs, { command: command.name, ack: command.acknowledgement, ...where });
  }
}
