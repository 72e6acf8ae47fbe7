/**
 * Where the applier reads in its stream, and what it does about what is missing there. Pure.
 *
 *     seek ──▶ placed ──▶ read ──▶ run, run, run …          a message at a time, as long as the queue has room
 *       ▲         │                  │
 *       └─────────┴── hole, end of a read, a look that finds more than was read, a state that has moved
 *
 * Nothing here waits for a message of NATS to say that something is wrong: when nothing comes, it looks.
 */
import type { MergedRun } from '../../../shared/merge/merge.js';
import type { Index } from '../../../shared/raft/entry.js';
import type { Effect } from './effect.js';
import type { ApplyQueue } from './queue.js';

/** The place of a merged index in the stream. */
export interface StreamPlace {
  /** Of the first message from there on; undefined when there is none yet. */
  readonly firstMergedIndex: Index | undefined;
}

/** What is wanted next is gone from the stream. */
export class MissingEntriesError extends Error {
  readonly code = 'MISSING_ENTRIES';
}

/** Between two looks for a stream that is not there, or a hole that may be filled (milliseconds). */
const RETRY_MS = 500;
/** Looks at a hole before it counts as one. */
const HOLE_TRIES = 5;
/** Further looks, each with a try to install a snapshot, before the stream is to begin again. */
const RESTART_TRIES = 10;
/** Without anything new for so long, the stream and the database are looked at (milliseconds). */
const IDLE_MS = 1_000;
/** A seek or look that is not answered by then is taken for lost (milliseconds). */
const LOST_MS = 30_000;

export class Reading {
  private state: 'seek' | 'placing' | 'reading' = 'seek';
  /** Of the newest seek; what is told of an older one is not listened to. */
  private id = 0;
  private seekAtMs = 0;
  private lookAtMs = 0;
  private isLooking = false;
  /** Of the newest look. */
  private lookId = 0;
  private holes = 0;
  private nowMs = 0;

  constructor(
    private readonly queue: ApplyQueue,
    private readonly emit: (effect: Effect) => void,
    /** What is wanted is in no stream: a snapshot is needed. */
    private readonly onMissing: (error: MissingEntriesError) => void,
  ) {}

  get nextWakeMs(): number {
    return this.state === 'seek' ? this.seekAtMs : this.lookAtMs;
  }

  advance(nowMs: number): void {
    this.nowMs = nowMs;
    if (this.state === 'seek' && nowMs >= this.seekAtMs) this.seek();
    if (this.state === 'placing' && nowMs >= this.lookAtMs) this.seek();
    if (this.state !== 'reading' || nowMs < this.lookAtMs) return;
    // While there is no room nothing is read, and there is more of course.
    if (this.queue.isFull) this.news();
    else this.look();
  }

  /** The place is to be looked up again: the state has moved, or the connection was lost. */
  again(): void {
    this.state = 'seek';
    this.seekAtMs = this.nowMs;
  }

  /** `place` is undefined while there is no stream. */
  placed(id: number, place: StreamPlace | undefined): void {
    if (id !== this.id || this.state !== 'placing') return;
    if (place === undefined) {
      this.later();
      return;
    }
    const { firstMergedIndex } = place;
    if (firstMergedIndex === undefined || firstMergedIndex <= this.queue.wanted) {
      this.holes = 0;
      this.state = 'reading';
      this.news();
      this.emit({ type: 'read', id });
      return;
    }
    this.holes += 1;
    if (this.holes >= HOLE_TRIES) this.missing(firstMergedIndex, this.holes - HOLE_TRIES + 1);
    this.later();
  }

  /** A message of the stream. False: it was not taken, nor will the ones after it be. */
  run(id: number, run: MergedRun): boolean {
    if (id !== this.id || this.state !== 'reading') return false;
    this.news();
    if (this.queue.offer(run) !== 'hole') return true;
    this.again();
    return false;
  }

  /** The place could not be found, or what was read may not be all there is. */
  ended(id: number): void {
    if (id === this.id && this.state !== 'seek') this.later();
  }

  /** `hasMore`: the stream has more than was read. False: something new has overtaken this look. */
  looked(lookId: number, hasMore: boolean): boolean {
    if (lookId !== this.lookId || !this.isLooking) return false;
    this.news();
    if (hasMore && this.state === 'reading') this.again();
    return true;
  }

  /** Something was read or applied: there is no need to look. */
  news(): void {
    this.isLooking = false;
    this.lookAtMs = this.nowMs + IDLE_MS;
  }

  private seek(): void {
    this.state = 'placing';
    this.isLooking = false;
    this.lookAtMs = this.nowMs + LOST_MS;
    this.id += 1;
    this.emit({ type: 'seek', id: this.id, wanted: this.queue.wanted });
  }

  private look(): void {
    this.lookAtMs = this.nowMs + LOST_MS;
    this.isLooking = true;
    this.lookId += 1;
    this.emit({ type: 'look', id: this.lookId });
  }

  private later(): void {
    this.state = 'seek';
    this.seekAtMs = this.nowMs + RETRY_MS;
  }

  /** A snapshot reaches over it (T10). Without one the groups' logs may still have it: the merger begins the stream again where this state is. */
  private missing(firstMergedIndex: Index, tries: number): void {
    this.onMissing(
      new MissingEntriesError(
        `the stream goes on at merged index ${firstMergedIndex}, but this server's database needs ${this.queue.wanted} next: the ` +
          'entries between are gone from the stream, and there is no snapshot beyond them yet',
      ),
    );
    if (tries % RESTART_TRIES === 0) this.emit({ type: 'restart-log' });
  }
}
