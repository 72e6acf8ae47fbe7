/**
 * The memory engine's state as the bytes of a snapshot, and back: a line of JSON for each row and
 * each result, in their order.
 */
import type { KvRow } from '../../shared/engine/kv/execute.js';
import { type EnginePosition, SnapshotFormatError } from '../../shared/engine/port.js';
import type { StoredResult } from '../../shared/engine/results.js';
import { FRAMING, type Frame, FrameReader, FrameWriter } from '../../shared/engine/snapshot-frames.js';

export const MEMORY_FORMAT = `memory/${FRAMING}/kv`;
/** Characters of lines that are gathered into one frame. */
const PIECE_LENGTH = 64 * 1024;

export interface MemoryState {
  readonly position: EnginePosition;
  readonly rows: ReadonlyMap<string, KvRow>;
  readonly results: ReadonlyMap<string, StoredResult>;
}

/**
 * Piece by piece, so the maps must be the caller's own; rows and results themselves are never
 * changed in place.
 */
export function* encodeState({ position, rows, results }: MemoryState): Generator<Uint8Array> {
  const writer = new FrameWriter();
  const tables = [
    ['rows', rows],
    ['results', results],
  ] as const;
  yield writer.start(MEMORY_FORMAT, position);
  for (const [name, entries] of tables) {
    yield writer.table({ name });
    let piece = '';
    for (const entry of entries) {
      piece += `${JSON.stringify(entry)}\n`;
      if (piece.length < PIECE_LENGTH) continue;
      yield* writer.data(Buffer.from(piece));
      piece = '';
    }
    if (piece !== '') yield* writer.data(Buffer.from(piece));
    writer.count(entries.size);
  }
  yield writer.end();
}

/**
 * Gathers a state from chunks of bytes with any borders. Everything wrong is a SnapshotFormatError.
 */
export class StateDecoder {
  private readonly reader: FrameReader;
  private readonly rows = new Map<string, KvRow>();
  private readonly results = new Map<string, StoredResult>();
  private table: Map<string, unknown> | undefined;
  /** The beginning of a line that goes on in the next frame. */
  private rest: Uint8Array = new Uint8Array(0);
  private read = 0;

  constructor(private readonly position: EnginePosition) {
    this.reader = new FrameReader(MEMORY_FORMAT, position);
  }

  push(chunk: Uint8Array): void {
    for (const frame of this.reader.push(chunk)) this.take(frame);
  }

  finish(): MemoryState {
    this.reader.finish();
    const { position, rows, results } = this;
    return { position, rows, results };
  }

  private take(frame: Frame): void {
    if (frame.kind === 'data') this.lines(frame.body);
    else if (frame.kind === 'table') this.table = this.tableOf(frame.json);
    else if (frame.kind === 'end' && frame.rows !== this.read) throw damaged('rows are missing');
  }

  private tableOf(json: unknown): Map<string, unknown> {
    const name = (json as { name?: unknown }).name;
    if (name === 'rows') return this.rows;
    if (name === 'results') return this.results;
    throw damaged('a table is unknown');
  }

  private lines(body: Uint8Array): void {
    const bytes = Buffer.concat([this.rest, body]);
    const end = bytes.lastIndexOf(0x0a) + 1;
    this.rest = bytes.subarray(end);
    if (this.table === undefined) throw damaged('rows without a table');
    for (const line of bytes.subarray(0, end).toString().split('\n')) {
      if (line === '') continue;
      const [key, value] = entryOf(line);
      this.table.set(key, value);
      this.read += 1;
    }
  }
}

function entryOf(line: string): [string, unknown] {
  try {
    const entry: unknown = JSON.parse(line);
    if (Array.isArray(entry) && typeof entry[0] === 'string') return [entry[0], entry[1]];
  } catch (cause) {
    throw new SnapshotFormatError('the snapshot is damaged: a row is not JSON', { cause });
  }
  throw damaged('a row is no pair');
}

function damaged(what: string): SnapshotFormatError {
  return new SnapshotFormatError(`the snapshot is damaged: ${what}`);
}
