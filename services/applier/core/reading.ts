/**
 * Where the applier reads the merged log, and what it does about what is missing there. Pure.
 *
 *              seek ──▶ placed ──▶ read, read, read … ──▶ follow, follow, follow …
 *                ▲         │          from the stream         at the end, from memory
 *                └─────────┴── hole, lost answer, older than memory, a look that finds more, a state that has moved
 *
 * The stream is read to start, to catch up, and to fill a hole. At the end of the log the merger's
 * newest runs come without it. One piece is asked for at a time, while the queue has room. When
 * nothing comes for a second, the stream is looked at, whatever the reason for the silence.
 */
import type { MergedRun } from '../../../shared/merge/merge.js';
import type { WindowAnswer } from '../../../shared/merge/window.js';
import type { MergedIndex, MonotonicMs } from '../../../shared/raft/entry.js';
import type { Effect } from './effect.js';
import type { ApplyQueue } from './queue.js';

/** The place of a merged index in the stream. */
export interface StreamPlace {
  /** Of the first message from there on; undefined when there is none yet. */
  readonly firstMergedIndex: MergedIndex | undefined;
}

/** A piece of the stream. */
export interface StreamPiece {
  readonly runs: readonly MergedRun[];
  /** The stream had no more. */
  readonly isEnd: boolean;
}

/** What is wanted next is gone from the stream. */
export class MissingEntriesError extends Error {
  readonly code = 'MISSING_ENTRIES';
}

/**
 * Between two looks for a stream that is not there, or a hole that may be filled (milliseconds).
 */
const RETRY_MS = 500;
/** Looks at a hole before it counts as one. */
const HOLE_TRIES = 5;
/** Further looks, each with a try to install a snapshot, before the stream is to begin again. */
const RESTART_TRIES = 10;
/** Without anything new for so long, the stream and the database are looked at (milliseconds). */
const IDLE_MS = 1_000;
/**
 * A seek or look that is not answered by then is taken for lost, and so is a read (milliseconds).
 */
const LOST_MS = 30_000;
const READ_MS_MAX = 5_000;

export class Reading {
  private state: 'seek' | 'placing' | 'catching-up' | 'following' = 'seek';
  /** Of the newest seek; what is told of an older one is not listened to. */
  private id = 0;
  /** A piece is asked for. */
  private isAsking = false;
  /** Something new has come since the newest seek. */
  private isMoving = false;
  private seekAtMs: MonotonicMs = 0;
  private lookAtMs: MonotonicMs = 0;
  private isLooking = false;
  /** Of the newest look. */
  private lookId = 0;
  private holes = 0;
  private nowMs: MonotonicMs = 0;

  constructor(
    private readonly queue: ApplyQueue,
    private readonly emit: (effect: Effect) => void,
    /** What is wanted is in no stream: a snapshot is needed. */
    private readonly onMissing: (error: MissingEntriesError) => void,
  ) {}

  get nextWakeMs(): MonotonicMs {
    return this.state === 'seek' ? this.seekAtMs : this.lookAtMs;
  }

  advance(nowMs: MonotonicMs): void {
    this.nowMs = nowMs;
    if (this.state === 'seek' && nowMs >= this.seekAtMs) this.seek();
    else if (this.state !== 'seek' && nowMs >= this.lookAtMs) this.overdue();
  }

  /**
   * Asks for the next piece when there is room for it. To be called after everything that may have
   * made room.
   */
  ask(): void {
    if (this.isAsking || this.queue.isFull) return;
    if (this.state === 'catching-up') {
      this.isAsking = true;
      this.lookAtMs = this.nowMs + READ_MS_MAX;
      this.emit({ type: 'read', id: this.id });
    } else if (this.state === 'following') {
      this.isAsking = true;
      this.emit({ type: 'follow', id: this.id, wanted: this.queue.wanted });
    }
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
      this.state = firstMergedIndex === undefined ? 'following' : 'catching-up';
      this.news();
      return;
    }
    this.holes += 1;
    if (this.holes >= HOLE_TRIES) this.missing(firstMergedIndex, this.holes - HOLE_TRIES + 1);
    this.later();
  }

  /** Answers `read`. */
  read(id: number, { runs, isEnd }: StreamPiece): void {
    if (id !== this.id || this.state !== 'catching-up' || !this.isAsking) return;
    this.isAsking = false;
    this.news();
    if (this.offer(runs) && isEnd) this.state = 'following';
  }

  /** Answers `follow`. */
  followed(id: number, answer: WindowAnswer): void {
    if (id !== this.id || this.state !== 'following' || !this.isAsking) return;
    this.isAsking = false;
    this.news();
    if (answer !== 'behind') this.offer(answer);
    // Straight after the end of the stream it is no use to look at once.
    else if (this.isMoving) this.again();
    else this.later();
  }

  /** The place could not be found, or what was read may not be all there is. */
  ended(id: number): void {
    if (id === this.id && this.state !== 'seek') this.later();
  }

  /** `hasMore`: the stream has more than was read. False: something new has overtaken this look. */
  looked(lookId: number, hasMore: boolean): boolean {
    if (lookId !== this.lookId || !this.isLooking) return false;
    this.news();
    if (hasMore && this.state === 'following') this.again();
    return true;
  }

  /** Something was read or applied: there is no need to look. */
  news(): void {
    this.isLooking = false;
    this.lookAtMs = this.nowMs + IDLE_MS;
  }

  /** False at a hole: what comes after it is not queued. */
  private offer(runs: readonly MergedRun[]): boolean {
    for (const run of runs) {
      const offered = this.queue.offer(run);
      if (offered === 'taken') this.isMoving = true;
      if (offered !== 'hole') continue;
      this.again();
      return false;
    }
    return true;
  }

  private overdue(): void {
    if (this.state === 'placing' || (this.state === 'catching-up' && this.isAsking)) this.seek();
    // While there is no room nothing is read, and there is more of course.
    else if (this.queue.isFull || this.state === 'catching-up') this.news();
    else this.look();
  }

  private seek(): void {
    this.state = 'placing';
    this.isLooking = false;
    this.isAsking = false;
    this.isMoving = false;
    this.lookAtMs = this.nowMs + LOST_MS;
    this.id += 1;
    this.emit({ type: 'seek', id: this.id, wanted: this.queue.wanted });
  }

  private look(): void {
    this.lookAtMs = this.nowMs + LOST_MS;
    this.isLooking = true;
    this.lookId += 1;
    this.emit({ type: 'look', id: this.lookId, wanted: this.queue.wanted });
  }

  private later(): void {
    this.state = 'seek';
    this.seekAtMs = this.nowMs + RETRY_MS;
  }

  /**
   * A snapshot reaches over it (T10). Without one the groups' logs may still have it: the merger
   * begins the stream again where this state is.
   */
  private missing(firstMergedIndex: MergedIndex, tries: number): void {
    this.onMissing(
      new MissingEntriesError(
        `the stream goes on at merged index ${firstMergedIndex}, but this server's database needs ${this.queue.wanted} next. ` +
          'The entries between are gone from the stream, and there is no snapshot beyond them yet',
      ),
    );
    if (tries % RESTART_TRIES === 0) this.emit({ type: 'restart-log' });
  }
}
