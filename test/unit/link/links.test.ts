/**
 * What services of one process pass each other: each may be started again alone, and none waits for
 * ever.
 */
import { expect, it } from 'vitest';
import { DirectFeed, FeedUnavailableError, MergerReplacedError } from '../../../shared/link/feed.js';
import { DirectMergedLog } from '../../../shared/link/merged-log.js';
import { type MergedRun, mergeStart } from '../../../shared/merge/merge.js';
import type { WindowAnswer } from '../../../shared/merge/window.js';
import { EntryKind } from '../../../shared/raft/entry.js';
import type { FeedReply } from '../../../shared/wire/feed.js';

const REQUEST = { positions: [1], watermarks: [0], waitingFor: 0, bytesMax: 1_000 };
const REPLY: FeedReply = { groups: [{ group: 0, entries: [], watermark: 5 }], bases: null };

it('a poll gets the very answer of the replica', async () => {
  const feed = new DirectFeed();
  feed.serve((merger, request, answer) => {
    expect([merger, request]).toEqual(['m1', REQUEST]);
    answer(REPLY);
  });
  expect(await feed.source('s1', 'm1').poll(REQUEST, 1_000)).toBe(REPLY);
});

it('a poll that nothing answers runs out; an answer after that is for nobody', async () => {
  const feed = new DirectFeed();
  let late: ((reply: FeedReply) => void) | undefined;
  feed.serve((_, __, answer) => {
    late = answer;
  });
  expect(await feed.source('s1', 'm1').poll(REQUEST, 5)).toBeNull();
  late?.(REPLY);
});

it('a poll is refused while there is no replica, and when the one that had it stops', async () => {
  const feed = new DirectFeed();
  const source = feed.source('s1', 'm1');
  await expect(source.poll(REQUEST, 1_000)).rejects.toThrow(FeedUnavailableError);
  const end = feed.serve(() => undefined);
  const waiting = source.poll(REQUEST, 60_000);
  end();
  await expect(waiting).rejects.toThrow('the replica has stopped');
  // The end of one that was started again since says nothing.
  feed.serve((_, __, answer) => answer(REPLY));
  end();
  expect(await source.poll(REQUEST, 1_000)).toBe(REPLY);
});

it('a merger that another one has replaced is told so', async () => {
  const feed = new DirectFeed();
  feed.serve((_, __, answer) => answer({ newer: 'm2' }));
  await expect(feed.source('s1', 'm1').poll(REQUEST, 1_000)).rejects.toThrow(MergerReplacedError);
});

function run(index: number): MergedRun {
  const entry = { index, term: 1, timestamp: index, kind: EntryKind.command, bytes: new Uint8Array(1) };
  const after = { ...mergeStart(1), mergedIndex: index };
  return { firstMergedIndex: index, groups: [0], entries: [entry], checkpoints: [], after };
}

it('the end of the merged log: what is there comes at once, what is to come as soon as it is there', () => {
  const log = new DirectMergedLog();
  const found: WindowAnswer[] = [];
  const ask = (wanted: number) => log.next(wanted, (answer) => found.push(answer));
  ask(1);
  log.begin(0);
  expect(found).toEqual([]);
  const [first, second] = [run(1), run(2)];
  log.push(first);
  expect(found.splice(0)).toEqual([[first]]);
  log.push(second);
  expect(found).toEqual([]);
  ask(2);
  expect(found.splice(0)).toEqual([[second]]);
  ask(3);
  // It falls behind: the merger has begun elsewhere.
  log.begin(5);
  expect(found.splice(0)).toEqual(['behind']);
});

it('a call takes the place of the one before, and none is answered once it is closed', () => {
  const log = new DirectMergedLog();
  const found: string[] = [];
  log.begin(0);
  log.next(1, () => found.push('old'));
  log.next(1, () => found.push('new'));
  log.push(run(1));
  expect(found).toEqual(['new']);
  log.next(2, () => found.push('closed'));
  log.close();
  log.push(run(2));
  expect(found).toEqual(['new']);
});
