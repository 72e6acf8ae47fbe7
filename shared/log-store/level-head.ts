/** What a level store reads when it opens a folder: whose it is, and the head. In a folder without a store it makes one. */
import type { GroupId, Timestamp } from '../raft/entry.js';
import { LogStoreFormatError, type LogStoreIdentity, LogStoreIdentityError } from './errors.js';
import type { GroupHead } from './head.js';
import type { LevelDatabase } from './level-database.js';
import * as record from './level-record.js';
import type { TermStart } from './port.js';

export interface StoreHead {
  /** Number of the last durable write. */
  readonly write: number;
  readonly promiseLimit: Timestamp;
  /** One for every group that was ever written. */
  readonly heads: Map<GroupId, GroupHead>;
  /** By group, its part of the stored head as text. */
  readonly groupTexts: readonly string[];
}

/**
 * Reads the head of the store of `identity`, which is made when the database is empty.
 * @throws LogStoreIdentityError, LogStoreFormatError, RecordError
 */
export async function openHead(database: LevelDatabase, identity: LogStoreIdentity): Promise<StoreHead> {
  const stored = await database.get(record.IDENTITY_KEY);
  if (stored === undefined) await create(database, identity);
  else checkIdentity(database.folder, record.decodeIdentity(stored), identity);

  const write = await readWriteNumber(database);
  const value = await database.get(record.HEAD_KEY);
  if (value === undefined) throw new record.RecordError(record.HEAD_KEY, 'the value is missing');
  const head = record.decodeHead(value);
  if (head.write !== write) {
    throw new record.RecordError(record.HEAD_KEY, `it is of write ${head.write}, the last write is ${write}`);
  }
  const heads = new Map<GroupId, GroupHead>();
  for (const [group, found] of head.groups.entries()) {
    if (found === null) continue;
    const { termCount, ...head } = found;
    heads.set(group, { ...head, termStarts: await readTermStarts(database, group, termCount) });
  }
  return { write, promiseLimit: head.promiseLimit, heads, groupTexts: head.groups.map(record.groupText) };
}

export async function readWriteNumber(database: LevelDatabase): Promise<number> {
  const value = await database.get(record.WRITE_KEY);
  if (value === undefined) throw new record.RecordError(record.WRITE_KEY, 'the value is missing');
  return record.decodeWriteNumber(value);
}

async function readTermStarts(database: LevelDatabase, group: GroupId, expected: number): Promise<TermStart[]> {
  const first = record.termKey(group, 0);
  const last = record.termKey(group, Number.MAX_SAFE_INTEGER);
  const starts: TermStart[] = [];
  await database.read(first, last, Number.MAX_SAFE_INTEGER, async (next) => {
    for (let pairs = await next(1_000); pairs.length > 0; pairs = await next(1_000)) {
      for (const [key, value] of pairs) {
        starts.push({ term: record.decodeTerm(key, value), firstIndex: record.indexOfKey(key) });
      }
    }
  });
  if (starts.length !== expected) {
    throw new record.RecordError(first, `group ${group} has ${starts.length} of ${expected} term starts`);
  }
  return starts;
}

async function create(database: LevelDatabase, { cluster, server, groups }: LogStoreIdentity): Promise<void> {
  const other = await database.read('', '\uffff', 1, async (next) => (await next(1))[0]);
  if (other !== undefined) throw new record.RecordError(record.IDENTITY_KEY, 'the value is missing');
  const identity: record.StoredIdentity = { format: record.FORMAT, cluster, server, groups };
  const noGroups = new Array<string>(groups).fill(record.groupText(null));
  await database.write([
    { type: 'put', key: record.WRITE_KEY, value: record.encodeWriteNumber(0) },
    { type: 'put', key: record.IDENTITY_KEY, value: record.sealJson(record.IDENTITY_KEY, identity) },
    { type: 'put', key: record.HEAD_KEY, value: record.encodeHead(0, 0, noGroups) },
  ]);
}

function checkIdentity(folder: string, found: record.StoredIdentity, identity: LogStoreIdentity): void {
  const { format, cluster, server, groups } = found;
  if (format !== record.FORMAT) throw new LogStoreFormatError(folder, format, record.FORMAT);
  if (cluster !== identity.cluster || server !== identity.server || groups !== identity.groups) {
    const expected = { cluster: identity.cluster, server: identity.server, groups: identity.groups };
    throw new LogStoreIdentityError(folder, expected, { cluster, server, groups });
  }
}
