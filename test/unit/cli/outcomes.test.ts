/** Asking what became of commands: pages, the end of the log, and servers that do not say. */

import type { NatsConnection } from 'nats';
import { describe, expect, it } from 'vitest';
import { Outcomes } from '../../../services/cli/outcomes.js';
import { OUTCOMES_MAX } from '../../../shared/wire/outcomes.js';

interface Range {
  readonly from: number;
  readonly to: number;
}

/** One that answers each request by `answer`, and the ranges that it was asked for. */
function asking(answer: (range: Range, time: number) => object) {
  const ranges: Range[] = [];
  const notes: string[] = [];
  async function* requestMany(_subject: string, data: string) {
    const range = JSON.parse(data) as Range;
    ranges.push(range);
    const reply = answer(range, ranges.length);
    yield { data: Buffer.from(JSON.stringify(reply)), json: () => reply };
  }
  const connection = { requestMany } as unknown as NatsConnection;
  const outcomes = new Outcomes(connection, 'craft.admin.outcomes.s1', (why) => notes.push(why));
  return { outcomes, ranges, notes };
}

const places = (count: number) => Array.from({ length: count }, (_, at) => ({ index: at + 1, timestamp: at + 100 }));
const ok = (appliedIndex: number, outcomes: object[]) => ({ ok: true, appliedIndex, outcomes });

describe('outcomes', () => {
  it('are those of the places that the server tells; others are unknown', async () => {
    const { outcomes } = asking(() =>
      ok(9, [
        { index: 1, timestamp: 100, outcome: 'ok' },
        { index: 2, timestamp: 101, outcome: 'rejected', message: 'no' },
        // Of another log, before a file was restored.
        { index: 3, timestamp: 7, outcome: 'ok' },
      ]),
    );
    expect(await outcomes.of(places(4))).toEqual([
      { outcome: 'ok' },
      { outcome: 'rejected', message: 'no' },
      { outcome: 'unknown' },
      { outcome: 'unknown' },
    ]);
  });

  it('are asked for in pages', async () => {
    const { outcomes, ranges } = asking(({ to }) => ok(to, []));
    expect(await outcomes.of(places(OUTCOMES_MAX + 1))).toHaveLength(OUTCOMES_MAX + 1);
    expect(ranges).toEqual([
      { from: 1, to: OUTCOMES_MAX },
      { from: OUTCOMES_MAX + 1, to: OUTCOMES_MAX + 1 },
    ]);
  });

  it('are asked for again while the state is behind the log', async () => {
    const { outcomes, ranges } = asking((_, time) =>
      time < 3 ? ok(0, []) : ok(1, [{ index: 1, timestamp: 100, outcome: 'ok' }]),
    );
    expect(await outcomes.of(places(1))).toEqual([{ outcome: 'ok' }]);
    expect(ranges).toHaveLength(3);
  });

  it('are left out, with one note, where they cannot be had', async () => {
    const { outcomes, ranges, notes } = asking(() => {
      throw new Error('not allowed', { cause: new Error('permissions violation') });
    });
    expect(await outcomes.of(places(1))).toEqual([]);
    expect(await outcomes.of(places(1))).toEqual([]);
    expect(ranges).toHaveLength(1);
    expect(notes).toEqual(['outcomes are not shown: permissions violation']);
  });
});
