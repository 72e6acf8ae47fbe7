/**
 * The health model: what is reported and watched becomes conditions with a time, a reason and a
 * remedy.
 */
import { describe, expect, it } from 'vitest';
import { messageWithCause } from '../../../shared/errors.js';
import { CONDITIONS, remedyOf } from '../../../shared/health/conditions.js';
import { Lasting, ProcessHealth, ServiceHealth, STUCK_MS } from '../../../shared/health/health.js';

function merger() {
  const clock = { ms: 1_000 };
  const health = new ServiceHealth('merger', { monotonicMs: () => clock.ms, epochMs: () => clock.ms });
  return { clock, health };
}

describe('a condition', () => {
  it('is ok until something is reported, keeps the time of that and the newest reason, and is ok again', () => {
    const { clock, health } = merger();
    expect(health.condition('publish')).toEqual({ condition: 'publish', ok: true, since: 1_000 });
    clock.ms = 2_000;
    health.report('publish', new Error('full'));
    clock.ms = 3_000;
    health.report('publish', { why: 'sealed', remedy: 'make it anew' });
    expect(health.condition('publish')).toEqual({
      condition: 'publish',
      ok: false,
      since: 2_000,
      why: 'sealed',
      remedy: 'make it anew',
    });
    expect(health.serves).toBe(false);
    clock.ms = 4_000;
    health.report('publish', undefined);
    expect(health.condition('publish')).toEqual({ condition: 'publish', ok: true, since: 4_000 });
    expect(health.serves).toBe(true);
  });

  it('says what to do also when the report does not, and keeps a bounded part of a long reason', () => {
    const { health } = merger();
    health.report('limits', new Error('x'.repeat(10_000)));
    const { why = '', remedy } = health.condition('limits');
    expect(why.length).toBeLessThan(500);
    expect(remedy).toBe(CONDITIONS.merger.limits.remedy);
    expect(health.serves).toBe(true);
  });

  it('that is watched began before it was seen, and ends with the service', () => {
    const { clock, health } = merger();
    let forMs: number | undefined = 5_000;
    health.watch('group', () => (forMs === undefined ? undefined : { why: 'group 1 is silent', forMs }));
    clock.ms = 10_000;
    health.look();
    clock.ms = 11_000;
    forMs = 6_000;
    health.look();
    expect(health.condition('group')).toMatchObject({ ok: false, since: 5_000 });
    health.report('running', { why: 'it has failed' });
    health.reset();
    health.look();
    expect(health.condition('group').ok).toBe(true);
    expect(health.condition('running').ok).toBe(false);
  });
});

it('has ages that do not follow a clock that is set', () => {
  const clock = { ms: 1_000, epochMs: 1_700_000_000_000 };
  const clocks = { monotonicMs: () => clock.ms, epochMs: () => clock.epochMs };
  const health = new ServiceHealth('applier', clocks);
  health.watchPosition(() => 7);
  health.look();
  health.turned('the core of the applier');
  health.report('batch', { why: 'a lock', forMs: 3_000 });
  clock.ms += 5_000;
  clock.epochMs += 86_400_000;
  expect(health.status()).toMatchObject({ stillMs: 5_000, serves: true });
  expect(health.condition('batch').since).toBe(1_699_999_997_000);
  expect(health.stuck).toEqual([]);
  clock.epochMs = 0;
  clock.ms += STUCK_MS;
  expect(health.stuck).toEqual(['the core of the applier has not turned for 35 s']);
});

it('a slow batch is told at once, and keeps the service from its work only when it lasts', () => {
  const clock = { ms: 0 };
  const health = new ServiceHealth('applier', { monotonicMs: () => clock.ms, epochMs: () => clock.ms });
  health.watch('batch', () => ({ why: 'a lock', forMs: clock.ms }));
  clock.ms = 3_000;
  health.look();
  expect([health.condition('batch').ok, health.serves, health.status().serves]).toEqual([false, true, true]);
  clock.ms = 9_999;
  expect(health.hindrances).toEqual([]);
  clock.ms = 10_000;
  expect(health.hindrances.map(({ condition }) => condition)).toEqual(['batch']);
  expect([health.serves, health.status().serves]).toEqual([false, false]);
  health.watch('batch', undefined);
  expect(health.serves).toBe(true);
});

it('tells how far a service is, and for how long it has not moved', () => {
  const { clock, health } = merger();
  let position = 7;
  expect(health.status()).not.toHaveProperty('position');
  health.watchPosition(() => position);
  health.look();
  clock.ms = 5_000;
  expect(health.status()).toMatchObject({ position: 7, stillMs: 4_000 });
  position = 8;
  health.look();
  expect(health.status()).toMatchObject({ position: 8, stillMs: 0 });
});

it('names loops that do not turn any more', () => {
  const { clock, health } = merger();
  health.turned('the merge');
  clock.ms += STUCK_MS - 1;
  expect(health.stuck).toEqual([]);
  clock.ms += 1;
  expect(health.stuck).toEqual(['the merge has not turned for 30 s']);
  health.reset();
  expect(health.stuck).toEqual([]);
});

it('is the same for every life of a service of one process', () => {
  const all = new ProcessHealth({ monotonicMs: () => 1, epochMs: () => 1 });
  all.of('applier').report('running', { why: 'it is starting' });
  all.of('replica');
  expect(all.of('applier')).toBe(all.of('applier'));
  expect(all.status().map(({ service, serves }) => [service, serves])).toEqual([
    ['applier', false],
    ['replica', true],
  ]);
});

it('what lasts is told once it has been so long enough without a pause', () => {
  let ms = 0;
  const lasting = new Lasting<number>(100, () => ms);
  expect(lasting.see([1, 2]).lasting).toEqual([]);
  ms = 60;
  expect(lasting.see([2]).lasting).toEqual([]);
  ms = 120;
  expect(lasting.see([1, 2])).toEqual({ lasting: [2], forMs: 120 });
});

it('an error is told with its cause, once', () => {
  expect(messageWithCause(new Error('cannot write', { cause: new Error('ENOSPC') }))).toBe('cannot write: ENOSPC');
  expect(messageWithCause(new Error('lost: reset', { cause: new Error('reset') }))).toBe('lost: reset');
  expect(messageWithCause('text')).toBe('text');
});

it('knows what to do about errors with a code', () => {
  expect(remedyOf(Object.assign(new Error('x'), { code: 'DATABASE' }))).toBe(CONDITIONS.applier.database.remedy);
  expect(remedyOf(new Error('x'))).toBeUndefined();
});

it('keeps what a life watches when the stop of the one before ends late', () => {
  const { health } = merger();
  health.reset();
  const before = health.life;
  health.reset();
  health.watch('group', () => ({ why: 'silent' }));
  health.end(before);
  health.look();
  expect(health.condition('group')).toMatchObject({ ok: false, why: 'silent' });
  health.end(health.life);
  health.look();
  expect(health.condition('group').ok).toBe(true);
});

it('has no place while that means nothing: nobody takes it for one that stands still', () => {
  const { clock, health } = merger();
  let position: number | undefined = 7;
  health.watchPosition(() => position);
  health.look();
  clock.ms += 5_000;
  expect(health.status()).toMatchObject({ position: 7, stillMs: 5_000 });
  position = undefined;
  health.look();
  expect(health.status()).not.toHaveProperty('position');
  position = 9;
  health.look();
  expect(health.status()).toMatchObject({ position: 9, stillMs: 0 });
});
