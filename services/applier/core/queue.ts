/**
 * What of the merged log is to be applied next. Pure: messages of the stream in, batches for the
 * engine out.
 *
 *      stream   ──▶ [ 1 2 3 ][ 4 5 ][ 6 7 8 9 ] …         messages, with whatever borders the merger chose
 *      queue                  [ 5 6 ][ 7 8 9 …            what is beyond the engine's position, waiting
 *      engine   ◀── [ 5 6 7 8 ]                           one batch: what has collected, up to a limit
 *
 * Positions are merged indexes, never sequences of the stream: a stream that lost its tail is
 * written again, with other borders. So entries that are known already are skipped one by one, and
 * a hole is reported, never jumped over (T8: no entry is skipped, none applied twice). The running
 * checksum (T4) goes on from the engine's own, entry by entry, and must meet every checksum that
 * the merger wrote. So a stream that is not the log of this state is noticed at once.
 */

import type { EngineBatch, EnginePosition, MergedCommand } from '../../../shared/engine/port.js';
import { VERIFY_COMMAND, type VerifyInput, verifyInput } from '../../../shared/engine/verify.js';
import { RunningChecksum } from '../../../shared/merge/checksum.js';
import { CHECKPOINT_INTERVAL, type MergedRun } from '../../../shared/merge/merge.js';
import { type GroupId, indexAfter, type LogEntry, type MergedIndex } from '../../../shared/raft/entry.js';
import { itemAt } from '../../../shared/raft/lists.js';
import { decodeCommand } from '../../../shared/wire/command.js';
import { entryBody } from '../../../shared/wire/entry-block.js';
import { MACHINE_COMMAND } from '../../../shared/wire/machine.js';
import { RESERVED_PREFIX, RESTORE_COMMAND } from '../../../shared/wire/restore.js';
import { WireError } from '../../../shared/wire/wire-error.js';

export interface QueueLimits {
  /** Most commands, and bytes of entries, in one batch (at least one command). */
  readonly batchCommandsMax: number;
  readonly batchBytesMax: number;
  /** From here on the queue is full and no more is to be read. */
  readonly queuedCommandsMax: number;
  readonly queuedBytesMax: number;
}

/**
 * What became of a message: something new in it, nothing new, or it begins beyond a hole and was
 * not taken.
 */
export type Offered = 'taken' | 'known' | 'hole';

export interface TakenBatch {
  readonly batch: EngineBatch;
  /** Size of its entries. */
  readonly bytes: number;
  /** The merged log's running checksum at each round merged index within the batch. */
  readonly checkpoints: readonly { readonly mergedIndex: MergedIndex; readonly checksum: string }[];
  /** The batch ends with a `craft.verify`. */
  readonly mark: VerifyInput | undefined;
}

/** The stream does not hold the log that this server's state was made from. */
export class LogMismatchError extends Error {
  readonly code = 'LOG_MISMATCH';
}

interface Queued {
  readonly command: MergedCommand;
  readonly entry: LogEntry;
  /** The merger's checksum after this entry, where its message ends. */
  readonly checksum: string | undefined;
}

export class ApplyQueue {
  private queue: Queued[] = [];
  private head = 0;
  private bytes = 0;
  private owed = 0;
  /** At the last entry that was taken. */
  private checksum: RunningChecksum;
  /** Of the last entry in the queue. */
  private lastIndex: MergedIndex;

  constructor(
    position: EnginePosition,
    private readonly limits: QueueLimits,
    /** A client waits for this server to answer this command. */
    private readonly isOwed: (command: MergedCommand) => boolean,
  ) {
    this.lastIndex = position.mergedIndex;
    this.checksum = new RunningChecksum(position.checksum);
  }

  /** Begins anew at another position; what is queued is forgotten. */
  reset(position: EnginePosition): void {
    this.queue = [];
    this.head = 0;
    this.bytes = 0;
    this.owed = 0;
    this.lastIndex = position.mergedIndex;
    this.checksum = new RunningChecksum(position.checksum);
  }

  /** Some client waits for a command in the queue, or there is enough for a batch. */
  get isUrgent(): boolean {
    return this.owed > 0 || this.isFull || this.length >= this.limits.batchCommandsMax;
  }

  /** The merged index that the next message must contain or come before. */
  get wanted(): MergedIndex {
    return indexAfter(this.lastIndex);
  }

  get isFull(): boolean {
    const { queuedCommandsMax, queuedBytesMax } = this.limits;
    return this.queue.length - this.head >= queuedCommandsMax || this.bytes >= queuedBytesMax;
  }

  get length(): number {
    return this.queue.length - this.head;
  }

  /** What waits, and from where on no more is read. */
  get fill(): Readonly<Record<'items' | 'bytes', { readonly now: number; readonly max: number }>> {
    const { queuedCommandsMax, queuedBytesMax } = this.limits;
    return { items: { now: this.length, max: queuedCommandsMax }, bytes: { now: this.bytes, max: queuedBytesMax } };
  }

  /** The command that the next batch begins with. */
  get next(): MergedCommand | undefined {
    return this.queue[this.head]?.command;
  }

  offer(run: MergedRun): Offered {
    const { firstMergedIndex, entries, groups, after } = run;
    if (firstMergedIndex > this.wanted) return 'hole';
    if (after.mergedIndex < this.wanted) return 'known';
    for (let at = this.wanted - firstMergedIndex; at < entries.length; at++) {
      const entry = itemAt(entries, at);
      const group = itemAt(groups, at);
      const checksum = at === entries.length - 1 ? after.checksum : undefined;
      const command = commandOf(entry, group, firstMergedIndex + at);
      if (this.isOwed(command)) this.owed += 1;
      this.queue.push({ command, entry, checksum });
      this.bytes += entry.bytes.length;
    }
    this.lastIndex = after.mergedIndex;
    return 'taken';
  }

  /**
   * The next batch, or null when nothing waits. What replaces the whole state (T10), or switches
   * the machine (T12), is a batch of its own. One that is to be compared or saved as it is at a
   * `craft.verify` ends with that. `isServicesOnly`: it ends before the first command that needs
   * the state machine's code.
   * @throws LogMismatchError when the entries do not add up to the checksum that the merger gave
   *   for them.
   */
  take(isServicesOnly = false): TakenBatch | null {
    const { batchCommandsMax, batchBytesMax } = this.limits;
    const commands: MergedCommand[] = [];
    const checkpoints: { mergedIndex: MergedIndex; checksum: string }[] = [];
    let bytes = 0;
    let mark: VerifyInput | undefined;
    for (; this.head < this.queue.length && commands.length < batchCommandsMax; this.head++) {
      const next = itemAt(this.queue, this.head);
      const size = next.entry.bytes.length;
      const { name } = next.command;
      const isAlone = name === RESTORE_COMMAND || name === MACHINE_COMMAND;
      if (commands.length > 0 && (isAlone || bytes + size > batchBytesMax)) break;
      if (isServicesOnly && !name.startsWith(RESERVED_PREFIX)) break;
      bytes += size;
      commands.push(next.command);
      if (this.isOwed(next.command)) this.owed -= 1;
      this.addToChecksum(next);
      if (next.command.mergedIndex % CHECKPOINT_INTERVAL === 0) {
        checkpoints.push({ mergedIndex: next.command.mergedIndex, checksum: this.checksum.toString() });
      }
      if (name === VERIFY_COMMAND) mark = verifyInput(next.command.payload);
      if (isAlone || mark !== undefined) {
        this.head++;
        break;
      }
    }
    if (commands.length === 0) return null;
    this.bytes -= bytes;
    this.compact();
    return { batch: { commands, checksum: this.checksum.toString() }, checkpoints, bytes, mark };
  }

  private addToChecksum({ command, entry, checksum }: Queued): void {
    this.checksum.add(command.group, entry.index, entry.bytes);
    if (checksum === undefined || checksum === this.checksum.toString()) return;
    throw new LogMismatchError(
      `the stream and the database do not belong together. At merged index ${command.mergedIndex} the merged log has ` +
        `checksum ${checksum}, and the log applied here has ${this.checksum}. Give this server an empty database, or ` +
        'remove the stream if it was tampered with. Both are rebuilt from the log',
    );
  }

  private compact(): void {
    if (this.head === this.queue.length) {
      this.queue = [];
      this.head = 0;
    } else if (this.head >= 4_096) {
      this.queue = this.queue.slice(this.head);
      this.head = 0;
    }
  }
}

const NO_COMMAND = {
  ...{ name: '', payload: new Uint8Array(0), id: '', server: '', reply: '', traceparent: '' },
  replyFormat: 'json',
} as const;

/**
 * An entry that is no command has a place in the log all the same: it becomes one that every state
 * machine rejects.
 */
function commandOf(entry: LogEntry, group: GroupId, mergedIndex: MergedIndex): MergedCommand {
  const { index, term, timestamp } = entry;
  try {
    const decoded = decodeCommand(entryBody(entry));
    const { name, payload, id, server, reply, traceparent, replyFormat, replyNumber, traceOrigin } = decoded;
    // Field by field: spreading objects costs more than decoding them, and this is done for every
    // command.
    return {
      mergedIndex,
      group,
      index,
      term,
      timestamp,
      name,
      payload,
      id,
      server,
      reply,
      traceparent,
      replyFormat,
      replyNumber,
      traceOrigin,
    };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return { mergedIndex, group, index, term, timestamp, ...NO_COMMAND };
  }
}
