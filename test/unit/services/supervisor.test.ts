/** What services/supervisor.ts adds to its core: bounds on what does not end, and the words. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type SupervisedService, Supervisor } from '../../../services/supervisor.js';
import type { Service } from '../../../shared/config/service.js';
import { createLogger } from '../../../shared/telemetry/log.js';

const logger = createLogger({ service: 'main', server: 's1', level: 'silent' });
const said: string[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  said.length = 0;
  for (const level of ['info', 'error', 'fatal'] as const) {
    vi.spyOn(logger, level).mockImplementation((_about: unknown, text?: unknown) => {
      said.push(`${level}: ${text}`);
    });
  }
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A service that runs until it is told to fail; `stop` as given. */
class Runs {
  fail: (error: Error) => void = () => undefined;
  starts = 0;
  restarts = 0;
  readonly described: SupervisedService;

  constructor(
    name: string,
    private readonly stop: () => Promise<void> = () => Promise.resolve(),
  ) {
    this.described = {
      name,
      holdsLock: name === 'replica',
      start: () => Promise.resolve(this.start(name)),
      onRunning: () => undefined,
      onRestart: () => {
        this.restarts += 1;
      },
    };
  }

  private start(name: string): Service {
    this.starts += 1;
    const failed = new Promise<Error>((resolve) => {
      this.fail = resolve;
    });
    return { name, failed, stop: this.stop };
  }
}

const NEVER = () => new Promise<never>(() => undefined);
const settle = () => vi.advanceTimersByTimeAsync(0);

function run(services: readonly SupervisedService[]): { supervisor: Supervisor; ends: [number, unknown][] } {
  const ends: [number, unknown][] = [];
  const supervisor = new Supervisor({ services, logger, onEnd: (...end) => ends.push(end) });
  supervisor.begin();
  return { supervisor, ends };
}

it('says what failed, why, and when the next try is; then that it has started again', async () => {
  const replica = new Runs('replica');
  const applier = new Runs('applier');
  const { ends } = run([replica.described, applier.described]);
  await settle();
  applier.fail(new Error('no table'));
  await settle();
  expect(said).toEqual(['error: the applier cannot go on: no table; try 2 in 250 ms']);
  await vi.advanceTimersByTimeAsync(249);
  expect([applier.starts, applier.restarts]).toEqual([1, 0]);
  await vi.advanceTimersByTimeAsync(1);
  expect([applier.starts, applier.restarts]).toEqual([2, 1]);
  expect(said.at(-1)).toBe('info: the applier has started again');
  expect([replica.starts, replica.restarts]).toEqual([1, 0]);
  expect(ends).toEqual([]);
});

it('does not wait for ever for a service that does not close: that of a replica ends the process', async () => {
  const replica = new Runs('replica', NEVER);
  const applier = new Runs('applier', NEVER);
  const { ends } = run([replica.described, applier.described]);
  await settle();
  applier.fail(new Error('no table'));
  await vi.advanceTimersByTimeAsync(30_000);
  expect(said.at(-1)).toBe('error: the applier did not stop: not within 30 s');
  await vi.advanceTimersByTimeAsync(250);
  expect(applier.starts).toBe(2);
  replica.fail(new Error('no connection'));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(replica.starts).toBe(1);
  expect(ends).toEqual([[1, undefined]]);
});

it('does not wait for ever for a start that does not heed that it is given up', async () => {
  const { supervisor, ends } = run([
    { name: 'applier', holdsLock: false, start: NEVER, onRestart: () => undefined, onRunning: () => undefined },
  ]);
  supervisor.stop();
  await vi.advanceTimersByTimeAsync(29_999);
  expect(ends).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(ends).toEqual([[0, undefined]]);
});

it('leaves no timer behind when it is stopped between two tries', async () => {
  const failing = { name: 'applier', holdsLock: false, onRestart: () => undefined, onRunning: () => undefined };
  const { supervisor, ends } = run([{ ...failing, start: () => Promise.reject(new Error('no database')) }]);
  await settle();
  expect(vi.getTimerCount()).toBe(1);
  supervisor.stop();
  expect(ends).toEqual([[0, undefined]]);
  expect(vi.getTimerCount()).toBe(0);
});

it('ends with the reason that no try mends', async () => {
  const merger = new Runs('merger');
  const { ends } = run([merger.described]);
  await settle();
  const replaced = Object.assign(new Error('another one has started'), { code: 'MERGER_REPLACED' });
  merger.fail(replaced);
  await settle();
  expect(said).toEqual(['fatal: the merger cannot go on: another one has started; this process ends']);
  expect(ends).toEqual([[1, replaced]]);
});
