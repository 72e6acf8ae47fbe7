/**
 * Whether the operations of one key have a linearization: an order in which a single register would
 * have given every reply. It respects what real time, Craft-After and (on request) the places told
 * in replies demand.
 *
 * The search is that of Wing and Gong with the memory of Lowe. Take an operation that nothing left
 * must come before, try it, go on, and go back at a dead end. Never visit the same set of
 * operations with the same state twice. What keeps it small:
 * - A read that may come next and fits the state is taken at once: no other order could make that
 *   worse, so only writes branch.
 * - Writes of unknown outcome that nobody saw are interchangeable, and only matter where versions
 *   are told.
 * - With places, what was acknowledged has one order, and only unknown operations branch.
 */
import { type Candidates, prepare, type Step } from './candidates.js';
import type { Operation } from './operations.js';

export type Verdict = 'linearizable' | 'violation' | 'undecided';

export interface SearchOptions {
  /** Demand the order of places (T4) as well. */
  readonly usePlaces: boolean;
  /** Sets of operations to visit at most; then the verdict is `undecided`. */
  readonly configurationsMax: number;
}

export interface SearchResult {
  readonly verdict: Verdict;
  /** Sets of operations visited. */
  readonly configurations: number;
}

export function search(operations: readonly Operation[], options: SearchOptions): SearchResult {
  return new Search(prepare(operations), options).run();
}

/** The register. */
interface State {
  readonly value: number;
  /** 0: absent. Stays 0 where nobody asks for versions. */
  readonly version: number;
}

/** One operation to try next: of `certain`, the next of `anonymous`, or of `possible`. */
type Move = { readonly kind: 'certain' | 'anonymous' | 'possible'; readonly at: number };

interface Frame {
  readonly state: State;
  readonly moves: readonly Move[];
  next: number;
  /** How much of the trail belongs to the frames below. */
  readonly trail: number;
}

class Search {
  private readonly isDone: Uint8Array;
  private done = 0;
  /** Every certain operation before it is done. */
  private base = 0;
  /** No certain operation from here on is done. */
  private top = 0;
  /** Everything before it in `placed` and in `bounded` is done. */
  private placedLow = 0;
  private boundedLow = 0;
  private readonly rankPlaced: Int32Array;
  private readonly rankBounded: Int32Array;
  private anonymousUsed = 0;
  private readonly possibleUsed = new Set<number>();
  private readonly trail: Move[] = [];
  private readonly visited = new Set<string>();

  constructor(
    private readonly candidates: Candidates,
    private readonly options: SearchOptions,
  ) {
    const { certain, placed, bounded } = candidates;
    this.isDone = new Uint8Array(certain.length);
    this.rankPlaced = ranks(placed, certain.length);
    this.rankBounded = ranks(bounded, certain.length);
  }

  run(): SearchResult {
    const { certain } = this.candidates;
    const stack: Frame[] = [this.frame({ value: 0, version: 0 }, 0)];
    for (;;) {
      if (this.done === certain.length) return this.result('linearizable');
      if (this.visited.size > this.options.configurationsMax) return this.result('undecided');
      const frame = stack.at(-1);
      if (frame === undefined) return this.result('violation');
      const move = frame.moves[frame.next++];
      if (move === undefined) {
        stack.pop();
        this.undo(frame.trail);
        continue;
      }
      const trail = this.trail.length;
      const state = this.after(this.stepOf(move), frame.state);
      if (state === undefined) continue;
      this.take(move);
      const next = this.frame(state, trail);
      const key = this.key(state);
      if (this.visited.has(key)) {
        this.undo(trail);
        continue;
      }
      this.visited.add(key);
      stack.push(next);
    }
  }

  private result(verdict: Verdict): SearchResult {
    return { verdict, configurations: this.visited.size };
  }

  /** Takes all reads that fit, and collects what may come after them. */
  private frame(state: State, trail: number): Frame {
    let moves = this.moves(state);
    while (moves === undefined) moves = this.moves(state);
    return { state, moves, next: 0, trail };
  }

  /**
   * Undefined: took a read (or another operation that only looks), so what may come next has to be
   * found anew.
   */
  private moves(state: State): Move[] | undefined {
    const { certain, anonymous, possible } = this.candidates;
    while (this.base < certain.length && this.isDone[this.base] === 1) this.base += 1;
    let endForReads = Number.POSITIVE_INFINITY;
    let endForWrites = Number.POSITIVE_INFINITY;
    let hasLooked = false;
    const found: number[] = [];
    for (let at = this.base; at < certain.length; at++) {
      if (this.isDone[at] === 1) continue;
      const step = certain[at] as Step;
      if (step.start > endForWrites) break;
      const isRead = step.f === 'read';
      if (isRead ? step.start <= endForReads : this.isOrdered(step, at)) {
        if (isRead ? fits(step, state) : isRefused(step, state)) {
          this.take({ kind: 'certain', at });
          hasLooked = true;
          continue;
        }
        if (!isRead) found.push(at);
      }
      endForReads = Math.min(endForReads, step.endForReads);
      endForWrites = Math.min(endForWrites, step.endForWrites);
    }
    if (hasLooked) return undefined;
    found.sort((a, b) => (certain[a] as Step).endForReads - (certain[b] as Step).endForReads);
    const moves = found.map((at): Move => ({ kind: 'certain', at }));
    const next = anonymous[this.anonymousUsed];
    if (next !== undefined && next.start <= endForWrites) moves.push({ kind: 'anonymous', at: this.anonymousUsed });
    for (const [at, step] of possible.entries()) {
      if (this.possibleUsed.has(at) || step.start > endForWrites || !this.isOrdered(step, -1)) continue;
      moves.push({ kind: 'possible', at });
    }
    return moves;
  }

  /**
   * Nothing is left that this write must come after, by its Craft-After (T7) and by its place (T4).
   */
  private isOrdered(step: Step, at: number): boolean {
    const { certain, placed, bounded } = this.candidates;
    if (this.options.usePlaces && at >= 0 && step.place !== undefined) {
      while (this.isDone[placed[this.placedLow] ?? -1] === 1) this.placedLow += 1;
      if (placed[this.placedLow] !== at) return false;
    }
    if (step.after === 0) return true;
    while (this.isDone[bounded[this.boundedLow] ?? -1] === 1) this.boundedLow += 1;
    for (let rank = this.boundedLow; rank < bounded.length; rank++) {
      const other = bounded[rank] ?? -1;
      if ((certain[other]?.timestampMax ?? 0) > step.after) break;
      if (other !== at && this.isDone[other] === 0) return false;
    }
    return true;
  }

  /** The register after a write; undefined when the write cannot have given its reply here. */
  private after(step: Step, state: State): State | undefined {
    if (step.f === 'cas') {
      if (step.ifVersion !== state.version) return step.verdict === 'took' || !step.isCertain ? undefined : state;
      if (step.verdict === 'refused') return undefined;
    }
    const version = this.candidates.hasVersions ? state.version + 1 : 0;
    if (step.version !== undefined && step.version !== version) return undefined;
    return { value: step.state, version };
  }

  private stepOf({ kind, at }: Move): Step {
    return this.candidates[kind][at] as Step;
  }

  private take(move: Move): void {
    this.trail.push(move);
    const { kind, at } = move;
    if (kind === 'anonymous') this.anonymousUsed += 1;
    else if (kind === 'possible') this.possibleUsed.add(at);
    else {
      this.isDone[at] = 1;
      this.done += 1;
      this.top = Math.max(this.top, at + 1);
    }
  }

  private undo(length: number): void {
    while (this.trail.length > length) {
      const { kind, at } = this.trail.pop() as Move;
      if (kind === 'anonymous') this.anonymousUsed -= 1;
      else if (kind === 'possible') this.possibleUsed.delete(at);
      else {
        this.isDone[at] = 0;
        this.done -= 1;
        this.base = Math.min(this.base, at);
        this.placedLow = Math.min(this.placedLow, this.rankPlaced[at] ?? 0);
        this.boundedLow = Math.min(this.boundedLow, this.rankBounded[at] ?? 0);
      }
    }
    while (this.top > 0 && this.isDone[this.top - 1] === 0) this.top -= 1;
  }

  /**
   * What is done and what the register holds, as text: everything below `base`, and bits above it.
   */
  private key({ value, version }: State): string {
    while (this.base < this.isDone.length && this.isDone[this.base] === 1) this.base += 1;
    let key = `${value},${version},${this.base},${this.anonymousUsed},${[...this.possibleUsed].sort().join('+')},`;
    for (let at = this.base + 1; at < this.top; at += 15) {
      let bits = 0;
      for (let bit = 0; bit < 15; bit++) bits |= (this.isDone[at + bit] ?? 0) << bit;
      key += String.fromCharCode(bits);
    }
    return key;
  }
}

function fits(read: Step, state: State): boolean {
  return (
    read.state === state.value && (read.version === undefined || read.value === null || read.version === state.version)
  );
}

/** A cas that was refused, at a version that refuses it: it only looks. */
function isRefused(step: Step, state: State): boolean {
  return step.verdict === 'refused' && step.ifVersion !== state.version;
}

/** The position of every index in `order`, or beyond its end. */
function ranks(order: readonly number[], length: number): Int32Array {
  const rank = new Int32Array(length).fill(order.length);
  for (const [position, at] of order.entries()) rank[at] = position;
  return rank;
}
