/**
 * One direction of a line: all its connections, with a delay for each piece, or a rate that they
 * share, or both. Pieces of one connection keep their order. Among connections the piece that is
 * due first passes first.
 *
 * A connection holds a bounded number of bytes here. When it holds more, its source is not read,
 * and the sender is held back, as by a real line. A target that does not read holds back its own
 * connection only.
 */
import type { Duplex } from 'node:stream';
import type { Samples } from '../summary.js';
import { TokenBucket } from './token-bucket.js';

export interface Line {
  /** One way (milliseconds). */
  readonly delayMs: number;
  /** At most so much more, evenly spread (milliseconds). */
  readonly jitterMs: number;
  /** Of each connection: with more waiting, its source is not read. */
  readonly heldBytesMax: number;
}

/** All count since the line was opened. */
export interface DirectionCounts {
  readonly bytes: number;
  /**
   * Bytes that the rate allowed while something waited, and that were late: the proxy's own error.
   */
  readonly lostBytes: number;
}

/** What passes at once when there is a rate. */
const PIECE_BYTES = 4 * 1024;
/**
 * A line that was idle for so long may send that much at once: timers are late by a millisecond or
 * more (milliseconds).
 */
const BURST_MS = 20;

interface Piece {
  chunk: Buffer;
  readonly dueMs: number;
}

/** One direction of one connection. */
class Passage {
  private readonly pieces: Piece[] = [];
  private held = 0;
  private lastDueMs = 0;
  private hasEnded = false;
  /** When the target was ready for more. */
  private drainedMs = 0;

  constructor(
    private readonly from: Duplex,
    private readonly to: Duplex,
    private readonly line: Line,
    onPiece: (chunk: Buffer) => void,
    onChange: () => void,
    onClose: () => void,
  ) {
    from.on('data', (chunk: Buffer) => {
      onPiece(chunk);
      this.take(chunk);
      onChange();
    });
    from.on('end', () => {
      this.hasEnded = true;
      this.maybeEnd();
    });
    to.on('drain', () => {
      this.drainedMs = performance.now();
      onChange();
    });
    // Whatever it is ends the connection, which `close` tells.
    from.on('error', () => undefined);
    from.on('close', () => {
      // What was sent before an orderly end still arrives.
      if (!this.hasEnded) to.destroy();
    });
    to.on('close', () => {
      this.pieces.length = 0;
      this.held = 0;
      if (!this.hasEnded) from.destroy();
      onClose();
    });
  }

  /** The first piece, unless the target does not read. */
  get next(): Piece | undefined {
    return this.to.writableNeedDrain ? undefined : this.pieces[0];
  }

  /** Sends the first `bytes` of the next piece. */
  pass(bytes: number): void {
    const [next] = this.pieces;
    if (next === undefined) return;
    this.to.write(next.chunk.subarray(0, bytes));
    this.held -= bytes;
    next.chunk = next.chunk.subarray(bytes);
    if (next.chunk.length === 0) this.pieces.shift();
    if (this.held <= this.line.heldBytesMax && this.from.isPaused()) this.from.resume();
    this.maybeEnd();
  }

  /** How late the next piece is by the proxy's own fault (milliseconds). */
  latenessMs(nowMs: number): number {
    return nowMs - Math.max(this.pieces[0]?.dueMs ?? nowMs, this.drainedMs);
  }

  private take(chunk: Buffer): void {
    const { delayMs, jitterMs, heldBytesMax } = this.line;
    // One piece never overtakes another.
    this.lastDueMs = Math.max(this.lastDueMs, performance.now() + delayMs + Math.random() * jitterMs);
    this.pieces.push({ chunk, dueMs: this.lastDueMs });
    this.held += chunk.length;
    if (this.held > heldBytesMax) this.from.pause();
  }

  private maybeEnd(): void {
    if (this.hasEnded && this.pieces.length === 0) this.to.end();
  }
}

export class Direction {
  private readonly passages = new Set<Passage>();
  private timer: NodeJS.Timeout | undefined;
  private bucket: TokenBucket | undefined;
  private waitsForTokens = false;
  private lostBefore = 0;
  private bytes = 0;

  /** `lateness`: gets how late each piece passed while there was no rate (milliseconds). */
  constructor(
    private readonly line: Line,
    private readonly lateness?: Samples,
  ) {}

  /** Undefined for no limit. Throws RangeError unless the rate is above 0. */
  limit(bytesPerSecond: number | undefined): void {
    this.lostBefore += this.bucket?.lostBytes ?? 0;
    this.bucket = bytesPerSecond === undefined ? undefined : bucketOf(bytesPerSecond);
    this.waitsForTokens = false;
    this.pass();
  }

  /** `onPiece`: told of all bytes that come, each once. */
  join(from: Duplex, to: Duplex, onPiece: (chunk: Buffer) => void = () => undefined): void {
    const passage: Passage = new Passage(
      from,
      to,
      this.line,
      onPiece,
      () => this.pass(),
      () => this.passages.delete(passage),
    );
    this.passages.add(passage);
  }

  get counts(): DirectionCounts {
    return { bytes: this.bytes, lostBytes: this.lostBefore + (this.bucket?.lostBytes ?? 0) };
  }

  private pass(): void {
    const nowMs = performance.now();
    if (this.waitsForTokens) this.bucket?.onWaited(nowMs);
    this.waitsForTokens = false;
    for (let first = this.first(); first !== undefined; first = this.first()) {
      const [passage, { chunk, dueMs }] = first;
      if (dueMs > nowMs) break;
      const bytes = this.bucket === undefined ? chunk.length : Math.min(PIECE_BYTES, chunk.length);
      if (this.bucket?.tryTake(bytes, nowMs) === false) {
        this.waitsForTokens = true;
        break;
      }
      if (this.bucket === undefined) this.lateness?.add(passage.latenessMs(nowMs));
      passage.pass(bytes);
      this.bytes += bytes;
    }
    this.schedule(nowMs);
  }

  /** The piece that is due first, of the connections whose targets read. */
  private first(): [Passage, Piece] | undefined {
    let first: [Passage, Piece] | undefined;
    for (const passage of this.passages) {
      const { next } = passage;
      if (next !== undefined && next.dueMs < (first?.[1].dueMs ?? Infinity)) first = [passage, next];
    }
    return first;
  }

  private schedule(nowMs: number): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const [, next] = this.first() ?? [];
    if (next === undefined) return;
    const waitMs =
      this.waitsForTokens && this.bucket !== undefined
        ? Math.ceil(this.bucket.waitMs(Math.min(PIECE_BYTES, next.chunk.length)))
        : next.dueMs - nowMs;
    this.timer = setTimeout(() => this.pass(), Math.max(0, waitMs));
  }
}

function bucketOf(bytesPerSecond: number): TokenBucket {
  const burstBytes = Math.max(PIECE_BYTES, (bytesPerSecond * BURST_MS) / 1_000);
  return new TokenBucket(bytesPerSecond, burstBytes, performance.now());
}
