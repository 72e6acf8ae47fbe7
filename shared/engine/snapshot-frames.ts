/**
 * The bytes of a snapshot (T10): frames, so that a restore knows at every byte what it is
 * of, and whether all of it came.
 *
 *   start   {format, position}                 what the snapshot says of itself, once more
 *   table   {name, columns, …}                 the data frames after it are this table's
 *   data    a piece of the table, as the engine writes it
 *   other   anything else that an engine keeps, as JSON
 *   end     {tables, rows, digest}             how much there was before it, and SHA-256 over all of that
 *
 * A frame is a letter, the length of its body (32 bits, big-endian) and the body. A stream without
 * its end frame was cut off. Pure.
 */
import { createHash } from 'node:crypto';
import type { EnginePosition } from './port.js';
import { SnapshotFormatError } from './port.js';

/** Version of this layout: part of every engine's format. */
export const FRAMING = 1;
/** Longest body of a frame (bytes); data is cut into pieces of it. */
const FRAME_BYTES_MAX = 256 * 1024;

const HEADER_BYTES = 5;
const LETTERS = { start: 'S', table: 'T', data: 'D', other: 'O', end: 'E' } as const;
type Kind = keyof typeof LETTERS;
const KINDS = new Map<number, Kind>(
  Object.entries(LETTERS).map(([kind, letter]) => [letter.charCodeAt(0), kind as Kind]),
);

export type Frame =
  | { readonly kind: 'data'; readonly body: Uint8Array }
  | { readonly kind: 'start' | 'table' | 'other'; readonly json: unknown }
  | { readonly kind: 'end'; readonly rows: number };

export class FrameWriter {
  private readonly hash = createHash('sha256');
  private tables = 0;
  private rows = 0;

  start(format: string, position: EnginePosition): Uint8Array {
    return this.json('start', { format, position: plainPosition(position) });
  }

  table(description: object): Uint8Array {
    this.tables += 1;
    return this.json('table', description);
  }

  /** Frames of `bytes`, none larger than may be. */
  *data(bytes: Uint8Array): Generator<Uint8Array> {
    for (let from = 0; from < bytes.length; from += FRAME_BYTES_MAX) {
      yield this.frame('data', bytes.subarray(from, from + FRAME_BYTES_MAX));
    }
  }

  /** So many rows were in the data of the table that is written. */
  count(rows: number): void {
    this.rows += rows;
  }

  other(content: object): Uint8Array {
    return this.json('other', content);
  }

  end(): Uint8Array {
    const { tables, rows } = this;
    return this.json('end', { tables, rows, digest: this.hash.copy().digest('hex') });
  }

  private json(kind: Kind, content: object): Uint8Array {
    return this.frame(kind, Buffer.from(JSON.stringify(content)));
  }

  private frame(kind: Kind, body: Uint8Array): Uint8Array {
    if (body.length > FRAME_BYTES_MAX) throw new RangeError(`a ${kind} frame of ${body.length} bytes`);
    const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length);
    frame.write(LETTERS[kind], 0, 'latin1');
    frame.writeUInt32BE(body.length, 1);
    frame.set(body, HEADER_BYTES);
    this.hash.update(frame);
    return frame;
  }
}

/** The other way round, from chunks with any borders. Everything wrong is a SnapshotFormatError. */
export class FrameReader {
  private readonly hash = createHash('sha256');
  private readonly chunks: Uint8Array[] = [];
  private length = 0;
  private tables = 0;
  private isOver = false;

  /** `start` must be what the snapshot says of itself. */
  constructor(
    private readonly format: string,
    private readonly position: EnginePosition,
  ) {}

  /** The frames that are complete with `chunk`. Holds no more than one incomplete frame. */
  *push(chunk: Uint8Array): Generator<Frame> {
    this.chunks.push(chunk);
    this.length += chunk.length;
    for (;;) {
      if (this.isOver && this.length > 0) throw new SnapshotFormatError('the snapshot goes on after its end');
      if (this.length < HEADER_BYTES) return;
      const header = this.peek(HEADER_BYTES);
      const kind = KINDS.get(header.readUInt8(0));
      const size = header.readUInt32BE(1);
      if (kind === undefined || size > FRAME_BYTES_MAX)
        throw new SnapshotFormatError('the snapshot is damaged: no frame');
      if (this.length < HEADER_BYTES + size) return;
      const frame = this.peek(HEADER_BYTES + size);
      this.drop(frame.length);
      yield this.read(kind, frame);
    }
  }

  /** No more comes. */
  finish(): void {
    if (!this.isOver) throw new SnapshotFormatError('the snapshot is cut off');
  }

  private read(kind: Kind, frame: Buffer): Frame {
    const body = frame.subarray(HEADER_BYTES);
    if (kind !== 'end') this.hash.update(frame);
    if (kind === 'data') return { kind, body };
    const json = parse(body);
    if (kind === 'start') this.checkStart(json);
    if (kind === 'table') this.tables += 1;
    return kind === 'end' ? this.checkEnd(json) : { kind, json };
  }

  private checkStart(json: Readonly<Record<string, unknown>>): void {
    if (json['format'] !== this.format) throw wrongFormat(String(json['format']), this.format);
    if (JSON.stringify(json['position']) !== JSON.stringify(plainPosition(this.position))) {
      throw new SnapshotFormatError('the snapshot is of another position than it says');
    }
  }

  private checkEnd(json: Readonly<Record<string, unknown>>): Frame {
    this.isOver = true;
    const { tables, rows, digest } = json;
    if (digest !== this.hash.digest('hex') || tables !== this.tables || typeof rows !== 'number') {
      throw new SnapshotFormatError('the snapshot is damaged: its digest does not fit');
    }
    return { kind: 'end', rows };
  }

  private peek(bytes: number): Buffer {
    const first = this.chunks[0] ?? new Uint8Array(0);
    if (first.length < bytes) {
      // Once a frame: a chunk is no smaller than it was, and a frame is bounded.
      const joined = Buffer.concat(this.chunks);
      this.chunks.splice(0, this.chunks.length, joined);
      return joined.subarray(0, bytes);
    }
    return Buffer.from(first.buffer, first.byteOffset, bytes);
  }

  private drop(bytes: number): void {
    const first = this.chunks[0] ?? new Uint8Array(0);
    this.length -= bytes;
    if (first.length === bytes) this.chunks.shift();
    else this.chunks[0] = first.subarray(bytes);
  }
}

/**
 * The frames of a whole snapshot, as its bytes come. Ends only after the end frame was found to be
 * right.
 */
export async function* framesOf(
  format: string,
  position: EnginePosition,
  data: AsyncIterable<Uint8Array>,
): AsyncGenerator<Frame> {
  const reader = new FrameReader(format, position);
  let isFirst = true;
  for await (const chunk of data) {
    for (const frame of reader.push(chunk)) {
      if (isFirst !== (frame.kind === 'start'))
        throw new SnapshotFormatError('the snapshot does not begin with its start');
      isFirst = false;
      yield frame;
    }
  }
  reader.finish();
}

export function wrongFormat(found: string, expected: string): SnapshotFormatError {
  return new SnapshotFormatError(`the snapshot has the format ${found.slice(0, 200)}, this engine has ${expected}`);
}

function parse(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(body.toString());
    if (typeof json === 'object' && json !== null) return json as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw new SnapshotFormatError('the snapshot is damaged: a frame is not JSON', { cause });
  }
  throw new SnapshotFormatError('the snapshot is damaged: a frame is no object');
}

/** The fields of a position and no others, always in one order. */
function plainPosition({
  mergedIndex,
  checksum,
  timestamp,
  resultsChecksum,
  positions,
  version,
}: EnginePosition): EnginePosition {
  return {
    mergedIndex,
    checksum,
    timestamp,
    resultsChecksum,
    positions: positions.map(({ index, term, timestamp }) => ({ index, term, timestamp })),
    ...(version === undefined ? {} : { version }),
  };
}
