/** One merger core after the other, and what each begins with. */
import { beforeEach, expect, it, vi } from 'vitest';
import { Merging } from '../../../services/merger/merging.js';
import { OtherClusterError } from '../../../shared/config/other-cluster.js';
import { ServiceHealth } from '../../../shared/health/health.js';
import { MergerReplacedError } from '../../../shared/link/feed.js';
import { DirectMergedLog } from '../../../shared/link/merged-log.js';
import { mergeStart } from '../../../shared/merge/merge.js';
import { createLogger } from '../../../shared/telemetry/log.js';
import type { Tracing } from '../../../shared/telemetry/tracing.js';

let events: string[];
/** What JetStream says when it is asked where the stream ends: a merged index, or why not. */
let ends: (number | Error)[];
let polls: { reject: (error: Error) => void }[];
let stopping: AbortController;
let merging: Merging;

beforeEach(() => {
  events = [];
  ends = [];
  polls = [];
  stopping = new AbortController();
  const never = new Promise<never>(() => undefined);
  const mergedLog = new DirectMergedLog();
  vi.spyOn(mergedLog, 'begin').mockImplementation((index) => void events.push(`merging from ${index}`));
  merging = new Merging({
    feed: { poll: () => new Promise((_, reject) => polls.push({ reject })) },
    stream: {
      position: async () => {
        const end = ends.shift() ?? 0;
        if (end instanceof Error) throw end;
        return { ...mergeStart(1), mergedIndex: end };
      },
      empty: async () => void events.push('emptied'),
    },
    storing: { store: () => never, requireWhole: () => never },
    locating: { locate: () => never, reset: () => undefined },
    mergedLog,
    counts: { batchSizes: { observe: () => undefined }, restarts: { add: () => void events.push('again') } } as never,
    tracing: { enabled: false } as Tracing,
    health: new ServiceHealth('merger'),
    logger: createLogger({ service: 'merger', server: 's1', level: 'silent' }),
    warn: () => undefined,
    signal: stopping.signal,
  });
});

/** The core that is at work polls. */
async function polling(): Promise<{ reject: (error: Error) => void }> {
  return vi.waitFor(() => {
    const poll = polls.shift();
    if (poll === undefined) throw new Error('no core polls');
    return poll;
  });
}

it('begins where the stream ends, and there again when a core cannot go on', async () => {
  ends = [4, 9];
  const running = merging.run();
  (await polling()).reject(new Error('a broken invariant'));
  await polling();
  expect(events).toEqual(['merging from 4', 'again', 'merging from 9']);
  expect(merging.mergedIndex).toBe(9);
  stopping.abort();
  merging.end();
  await running;
  expect(merging.core).toBeUndefined();
});

it('asks again for a stream that JetStream does not give', async () => {
  ends = [new Error('no JetStream'), 3];
  const running = merging.run();
  await polling();
  expect(events).toEqual(['merging from 3']);
  stopping.abort();
  merging.end();
  await running;
});

it('empties the stream when it is to begin again, once', async () => {
  ends = [4, 0, 2];
  const running = merging.run();
  await polling();
  merging.beginAgain();
  (await polling()).reject(new Error('another reason'));
  await polling();
  expect(events).toEqual(['merging from 4', 'again', 'emptied', 'merging from 0', 'again', 'merging from 2']);
  stopping.abort();
  merging.end();
  await running;
});

it('ends for good when the stream is of another cluster, or another merger has come', async () => {
  ends = [new OtherClusterError('the stream', 'there', 'here', 'give another name')];
  await expect(merging.run()).rejects.toBeInstanceOf(OtherClusterError);
  const running = merging.run();
  (await polling()).reject(new MergerReplacedError('s1', 'm1', 'm2'));
  await expect(running).rejects.toBeInstanceOf(MergerReplacedError);
  expect(events).toEqual(['merging from 0']);
});
