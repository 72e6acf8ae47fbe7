/**
 * The feed: long polls of mergers, answered from the groups' committed logs.
 *
 * A poll is answered when the merger can go on with it: when its smallest waiting entry, sent or
 * about to be sent, is at or below every group's watermark. So one answer carries all that has
 * become mergeable since the last one.
 */

import { NOT_WANTED } from '../../../shared/merge/merge.js';
import { BEFORE_ALL, EntryKind, type GroupId, type LogEntry, type Timestamp } from '../../../shared/raft/entry.js';
import type { Group } from '../../../shared/raft/group.js';
import { ofGroup, type PerGroup } from '../../../shared/raft/lists.js';
import type { FeedGroup, FeedReply, FeedRequest } from '../../../shared/wire/feed.js';
import type { ReadEffect } from './read-effect.js';

/** The answer of one poll. */
export interface FeedAnswer extends FeedReply {
  readonly request: number;
}

interface Poll {
  readonly id: number;
  readonly request: FeedRequest;
  /** Pieces that came back from the log store for this poll. */
  readonly read: Map<GroupId, readonly LogEntry[]>;
  readonly reading: Set<GroupId>;
}

/** Polls waiting at once: one merger's, and a few that were left by mergers that are gone. */
const POLLS_MAX = 8;

export class Feed {
  private polls: Poll[] = [];

  constructor(private readonly groups: PerGroup<Group>) {}

  /** The largest timestamp that some merger waits for (T5). */
  get waitingFor(): Timestamp {
    let largest = BEFORE_ALL;
    for (const { request } of this.polls) largest = Math.max(largest, request.waitingFor);
    return largest;
  }

  add(id: number, request: FeedRequest): void {
    this.polls.push({ id, request, read: new Map(), reading: new Set() });
    if (this.polls.length > POLLS_MAX) this.polls.shift();
  }

  /** Forgets a poll whose merger has stopped waiting. */
  remove(id: number): void {
    this.polls = this.polls.filter((poll) => poll.id !== id);
  }

  /** What came back from the log store. */
  onRead(effect: ReadEffect, entries: readonly LogEntry[]): void {
    for (const poll of this.polls) {
      if (!poll.reading.has(effect.group) || ofGroup(poll.request.positions, effect.group) !== effect.from) continue;
      poll.reading.delete(effect.group);
      if (entries.length > 0) poll.read.set(effect.group, entries);
    }
  }

  /** Answers the polls that can be answered, and says what must be read for the others. */
  serve(): { answers: FeedAnswer[]; reads: ReadEffect[] } {
    const answers: FeedAnswer[] = [];
    const reads: ReadEffect[] = [];
    if (this.polls.length === 0) return { answers, reads };
    this.polls = this.polls.filter((poll) => {
      if (this.isBehind(poll)) {
        answers.push({ request: poll.id, groups: [], bases: this.groups.map(({ base }) => base.index) });
        return false;
      }
      const wanted = this.missing(poll);
      reads.push(...wanted);
      if (poll.reading.size > 0 || !this.isUseful(poll)) return true;
      answers.push({ request: poll.id, groups: this.answer(poll), bases: null });
      return false;
    });
    return { answers, reads };
  }

  /** Some of what it asks for is gone. */
  private isBehind({ request }: Poll): boolean {
    return this.groups.some(({ base }, id) => {
      const from = ofGroup(request.positions, id);
      return from !== NOT_WANTED && from <= base.index;
    });
  }

  /** Reads to start for groups whose wanted entries have left the window. */
  private missing(poll: Poll): ReadEffect[] {
    const reads: ReadEffect[] = [];
    for (const [id, group] of this.groups.entries()) {
      const from = ofGroup(poll.request.positions, id);
      if (from === NOT_WANTED || from > group.commitIndex || from >= group.firstInWindow) continue;
      if (poll.read.has(id) || poll.reading.has(id)) continue;
      poll.reading.add(id);
      const to = Math.min(group.firstInWindow - 1, group.commitIndex);
      reads.push({ type: 'read', group: id, from, to, bytesMax: this.share(poll), follower: null });
    }
    return reads;
  }

  private isUseful(poll: Poll): boolean {
    const { watermarks, waitingFor } = poll.request;
    let lowestWatermark = Number.POSITIVE_INFINITY;
    let smallestHead = Number.POSITIVE_INFINITY;
    let isMoving = false;
    for (const [id, group] of this.groups.entries()) {
      const known = ofGroup(watermarks, id);
      lowestWatermark = Math.min(lowestWatermark, Math.max(group.watermark, known));
      if (group.watermark > known && known < waitingFor) isMoving = true;
      const head = this.head(poll, id, group);
      // Without a place in the merged log it waits for nobody; sending it moves the position on.
      if (head !== undefined && head.kind !== EntryKind.command) return true;
      if (head !== undefined) smallestHead = Math.min(smallestHead, head.timestamp);
      // The window has moved under the poll: `missing` reads it back.
      if (head === undefined && this.hasMore(poll, id, group)) return false;
    }
    return smallestHead <= lowestWatermark || (waitingFor > BEFORE_ALL && isMoving);
  }

  private hasMore(poll: Poll, id: GroupId, group: Group): boolean {
    const from = ofGroup(poll.request.positions, id);
    return from !== NOT_WANTED && from <= group.commitIndex;
  }

  private head(poll: Poll, id: GroupId, group: Group): LogEntry | undefined {
    if (!this.hasMore(poll, id, group)) return undefined;
    const read = poll.read.get(id);
    if (read !== undefined) return read[0];
    const from = ofGroup(poll.request.positions, id);
    return from >= group.firstInWindow ? group.at(from) : undefined;
  }

  /**
   * Groups in the order in which the merge needs them, as long as there is room; each by itself
   * within its share.
   */
  private answer(poll: Poll): FeedGroup[] {
    const heads = this.groups.map((group, id) => this.head(poll, id, group)?.timestamp ?? BEFORE_ALL);
    const order = [...this.groups.keys()].sort((a, b) => ofGroup(heads, a) - ofGroup(heads, b));
    let room = poll.request.bytesMax;
    const parts = order.map((id) => {
      const part = this.part(poll, id);
      const bytes = part.entries.reduce((sum, entry) => sum + entry.bytes.length, 0);
      // One large entry of each of many groups would be more than a message carries: the first
      // goes, the others next time.
      if (bytes > room && room < poll.request.bytesMax) return nothingOf(id);
      room -= bytes;
      return part;
    });
    return parts.sort((a, b) => a.group - b.group);
  }

  private part(poll: Poll, id: GroupId): FeedGroup {
    const group = ofGroup(this.groups, id);
    const from = ofGroup(poll.request.positions, id);
    if (from === NOT_WANTED) return nothingOf(id);
    if (from > group.commitIndex) return { group: id, entries: [], watermark: group.watermark };
    const entries = poll.read.get(id) ?? group.slice(from, group.commitIndex, this.share(poll));
    const last = entries[entries.length - 1];
    // With more to come the watermark is only what has been sent.
    const isAll = last !== undefined && last.index >= group.commitIndex;
    return { group: id, entries, watermark: isAll ? group.watermark : (last?.timestamp ?? BEFORE_ALL) };
  }

  /**
   * An equal share for every group, so that one with a long backlog cannot starve the one that the
   * merge waits for.
   */
  private share(poll: Poll): number {
    return Math.max(1, Math.floor(poll.request.bytesMax / this.groups.length));
  }
}

/** Says nothing of the group: whatever the merger knows of it is newer. */
function nothingOf(group: GroupId): FeedGroup {
  return { group, entries: [], watermark: BEFORE_ALL };
}
