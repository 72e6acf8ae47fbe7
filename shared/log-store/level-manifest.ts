/**
 * LevelDB's manifest: a journal of edits (db/version_edit.cc), from which follow the oldest journal that is still needed
 * and the tables that hold the data.
 */
import { readVarint } from './level-varint.js';

/** Tags of the fields of an edit, and what follows each: v a varint, s a counted string. */
const FIELDS: Readonly<Record<number, string>> = {
  1: 's',
  2: 'v',
  3: 'v',
  4: 'v',
  5: 'vs',
  6: 'vv',
  7: 'vvvss',
  9: 'v',
};
const LOG_NUMBER = 2;
const DELETED_FILE = 6;
const NEW_FILE = 7;

export interface Manifest {
  /** Number of the oldest journal that is needed; 0 before there is one. */
  journal: number;
  /** Number of each live table -> its size in bytes. */
  readonly tables: Map<number, number>;
}

export const emptyManifest = (): Manifest => ({ journal: 0, tables: new Map() });

/** Applies one edit to `manifest`; false, and `manifest` is of no use any more, when the edit cannot be decoded. */
export function applyEdit(manifest: Manifest, edit: Uint8Array): boolean {
  let offset = 0;
  while (offset < edit.length) {
    const tag = readVarint(edit, offset);
    const fields = tag && FIELDS[tag.value];
    if (!tag || !fields) return false;
    offset = tag.end;
    const numbers: number[] = [];
    for (const field of fields) {
      const number = readVarint(edit, offset);
      if (number === undefined) return false;
      numbers.push(number.value);
      offset = field === 's' ? number.end + number.value : number.end;
      if (offset > edit.length) return false;
    }
    apply(manifest, tag.value, numbers);
  }
  return true;
}

function apply(manifest: Manifest, tag: number, [first = 0, second = 0, third = 0]: readonly number[]): void {
  if (tag === LOG_NUMBER) manifest.journal = first;
  // Both begin with the level of the table. An edit that moves a table to another level deletes it before it adds it.
  else if (tag === DELETED_FILE) manifest.tables.delete(second);
  else if (tag === NEW_FILE) manifest.tables.set(second, third);
}
