/** Tables for people; programs get JSON. Pure. */

import type { MergedIndex } from '../../shared/raft/entry.js';
import { itemAt } from '../../shared/raft/lists.js';
import type { Members } from './members.js';

/** Columns as wide as their longest cell, two spaces between. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    row.map((text, column) => text.padEnd(itemAt(widths, column))).join('  ');
  return all.map((row) => line(row).trimEnd()).join('\n');
}

/**
 * A sentence in lines of at most so many columns, the further ones indented; a longer word has a
 * line of its own.
 */
export function wrapped(text: string, columns: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line.trim() !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = `  ${word}`;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}

/** Of `craft machine status`: the lines that it prints as JSON. */
export function machineTable(lines: readonly MachineLine[]): string {
  const rows = lines.map(({ server, name = '-', version, appliedIndex, loaded = [], error }) => [
    server,
    version === undefined ? name : `${name} ${version}`,
    String(appliedIndex ?? '-'),
    `${loaded.map((one) => `${one.version} (${one.fingerprint})`).join(', ') || '-'}${error ? `: ${error}` : ''}`,
  ]);
  return table(['server', 'in force', 'applied', 'loaded'], rows);
}

export interface MachineLine {
  readonly server: string;
  readonly name?: string | undefined;
  readonly version?: number | undefined;
  readonly appliedIndex?: MergedIndex | undefined;
  readonly loaded?: readonly { readonly version: number; readonly fingerprint: string }[] | undefined;
  /** Why nothing is applied there. */
  readonly error?: string | undefined;
}

export function membersTable(groups: readonly Members[]): string {
  const rows = groups.map(({ group, voters, learners, committed }) => [
    String(group),
    voters.join(', '),
    learners.join(', ') || '-',
    committed ? 'yes' : 'not yet',
  ]);
  return table(['group', 'voters', 'learners', 'committed'], rows);
}

export interface SnapshotLine {
  readonly name: string;
  readonly server: string;
  readonly mergedIndex: MergedIndex;
  readonly bytes: number;
  /** ISO 8601. */
  readonly savedAt: string;
  /** Whether a majority of the servers has the same rows at that place. */
  readonly confirmed: boolean;
}

export function snapshotsTable(snapshots: readonly SnapshotLine[]): string {
  const rows = snapshots.map(({ name, server, mergedIndex, bytes, savedAt, confirmed }) => [
    name,
    server,
    String(mergedIndex),
    String(bytes),
    savedAt.slice(0, 19),
    confirmed ? 'yes' : 'not yet',
  ]);
  return table(['name', 'server', 'merged', 'bytes', 'saved at', 'confirmed'], rows);
}
