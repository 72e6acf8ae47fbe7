/** The load of benchmarks: gaps, loops, and messages that are written by hand. */
import { Reader } from 'protobufjs';
import { describe, expect, it, vi } from 'vitest';
import { Gaps } from '../../bench/load/gaps.js';
import { ClosedLoop } from '../../bench/load/loops.js';
import { Recorder } from '../../bench/load/recorder.js';
import { encodePut } from '../../bench/load/senders/etcd.js';
import type { OnOutcome } from '../../bench/load/senders/sender.js';

describe('gaps', () => {
  it('are the times between answers, the longest first, with when they began and the load', () => {
    const gaps = new Gaps(1_000);
    gaps.onAnswer(1_100, 8);
    gaps.onAnswer(1_600, 64);
    gaps.onAnswer(1_610, 64);
    expect(gaps.end(1_810, 512).slice(0, 3)).toEqual([
      { beginMs: 100, lengthMs: 500, inFlight: 64 },
      { beginMs: 610, lengthMs: 200, inFlight: 512 },
      { beginMs: 0, lengthMs: 100, inFlight: 8 },
    ]);
  });
  it('without any answer are one gap, from the beginning to the end', () => {
    expect(new Gaps(50).end(2_050, 1)).toEqual([{ beginMs: 0, lengthMs: 2_000, inFlight: 1 }]);
  });
  it('are kept up to a number, and those are the longest', () => {
    const gaps = new Gaps(0);
    const lengths = Array.from({ length: 100 }, (_, at) => at + 1);
    let now = 0;
    for (const length of [...lengths, ...lengths.reverse()]) {
      now += length;
      gaps.onAnswer(now, 1);
    }
    const kept = gaps.end(now, 1);
    expect(kept).toHaveLength(20);
    expect(kept[0]?.lengthMs).toBe(100);
    expect(kept.at(-1)?.lengthMs).toBe(91);
  });
});

/** A sender whose answers the test gives. */
class HeldSender {
  readonly held: OnOutcome[] = [];
  send(onOutcome: OnOutcome): void {
    this.held.push(onOutcome);
  }
  async close(): Promise<void> {}
  answer(count: number, failure?: string): void {
    for (const onOutcome of this.held.splice(0, count)) onOutcome(failure);
  }
}

describe('a closed loop', () => {
  it('sends one for each that is answered', () => {
    const sender = new HeldSender();
    const loop = new ClosedLoop(sender, new Recorder());
    loop.setInFlight(5);
    expect(sender.held).toHaveLength(5);
    sender.answer(3);
    expect(sender.held).toHaveLength(5);
  });
  it('comes down to a smaller number as answers come, and up to a larger one at once', () => {
    const sender = new HeldSender();
    const loop = new ClosedLoop(sender, new Recorder());
    loop.setInFlight(8);
    loop.setInFlight(2);
    sender.answer(5);
    expect(sender.held).toHaveLength(3);
    sender.answer(3);
    expect(sender.held).toHaveLength(2);
    loop.setInFlight(4);
    expect(sender.held).toHaveLength(4);
  });
  it('has stopped when everything has been answered', async () => {
    const sender = new HeldSender();
    const loop = new ClosedLoop(sender, new Recorder());
    loop.setInFlight(2);
    let isStopped = false;
    const stopping = loop.stop().then(() => {
      isStopped = true;
    });
    sender.answer(1);
    await Promise.resolve();
    expect(isStopped).toBe(false);
    sender.answer(1);
    await stopping;
    expect(sender.held).toHaveLength(0);
  });
  it('sends again after a refusal, but not at once', () => {
    vi.useFakeTimers();
    try {
      const sender = new HeldSender();
      const loop = new ClosedLoop(sender, new Recorder());
      loop.setInFlight(1);
      sender.answer(1, 'OVERLOADED');
      expect(sender.held).toHaveLength(0);
      vi.advanceTimersByTime(5);
      expect(sender.held).toHaveLength(1);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a recorder', () => {
  it('counts all that succeeded and failed, and takes latencies only while measuring', () => {
    const recorder = new Recorder();
    recorder.onOutcome(performance.now(), undefined);
    recorder.measure();
    recorder.onOutcome(performance.now() - 20, undefined);
    recorder.onOutcome(performance.now(), 'timeout');
    recorder.endMeasure();
    recorder.onOutcome(performance.now(), undefined);
    const result = recorder.result();
    expect(result).toMatchObject({ count: 1, succeeded: 3, failures: { timeout: 1 } });
    expect(result.p50).toBeGreaterThanOrEqual(20);
  });
});

it.each([1, 127, 128, 20_000])('a put of etcd with a value of %i bytes is what protobuf reads', (length) => {
  const value = 'v'.repeat(length);
  const message = encodePut('key-ü', value);
  expect(message[0]).toBe(0);
  expect(message.readUInt32BE(1)).toBe(message.length - 5);
  const reader = Reader.create(message.subarray(5));
  expect([reader.uint32(), reader.string(), reader.uint32(), reader.string()]).toEqual([10, 'key-ü', 18, value]);
  expect(reader.pos).toBe(reader.len);
});
