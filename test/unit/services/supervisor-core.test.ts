import { describe, expect, it } from 'vitest';
import {
  type Effect,
  PAUSE_MS,
  PAUSE_MS_MAX,
  SupervisorCore,
  type Verdict,
  WELL_MS,
} from '../../../services/supervisor-core.js';

const AGAIN: Verdict = { type: 'again' };
const DOWN: Verdict = { type: 'down' };
const END: Verdict = { type: 'end', exitCode: 1 };
const REASON = new Error('no database');

const ALL = [
  { name: 'replica', holdsLock: true },
  { name: 'merger', holdsLock: false },
  { name: 'applier', holdsLock: false },
];

/**
 * Effects as short texts: `start applier`, `pause applier 250`, `end 0`. What is said has tests of
 * its own.
 */
function told(effects: readonly Effect[]): string[] {
  return effects.flatMap((effect) => {
    if (effect.type === 'say') return [];
    if (effect.type === 'end') return [`end ${effect.exitCode}`];
    return [`${effect.type} ${effect.service}${effect.type === 'pause' ? ` ${effect.delayMs}` : ''}`];
  });
}

function running(services = ALL, nowMs = 0): SupervisorCore {
  const core = new SupervisorCore(services);
  core.begin();
  for (const { name } of services) core.started(name, nowMs);
  return core;
}

describe('the start', () => {
  it('of a server begins with what keeps a second copy away; the others follow together', () => {
    const core = new SupervisorCore(ALL);
    expect(told(core.begin())).toEqual(['start replica']);
    expect(told(core.failed('replica', REASON, AGAIN, 0))).toEqual(['pause replica 250']);
    expect(core.due('replica')).toEqual([{ type: 'start', service: 'replica', isAgain: true }]);
    expect(core.started('replica', 300)).toEqual([
      { type: 'start', service: 'merger', isAgain: false },
      { type: 'start', service: 'applier', isAgain: false },
    ]);
  });

  it('of services without such a one is all at once', () => {
    expect(told(new SupervisorCore(ALL.slice(1)).begin())).toEqual(['start merger', 'start applier']);
  });

  it('of a second copy whose replica finds the lock taken starts nothing else', () => {
    const core = new SupervisorCore(ALL);
    core.begin();
    expect(told(core.failed('replica', REASON, END, 0))).toEqual(['end 1']);
  });
});

describe('a service that cannot start', () => {
  it('is tried again alone, after pauses that double up to a bound; each try is said', () => {
    const core = new SupervisorCore(ALL);
    core.begin();
    core.started('replica', 0);
    core.started('merger', 0);
    const delays: number[] = [];
    for (let n = 1; n <= 8; n++) {
      const [say, pause, ...rest] = core.failed('applier', REASON, AGAIN, n);
      expect(rest).toEqual([]);
      if (pause?.type !== 'pause') throw new Error('no pause');
      delays.push(pause.delayMs);
      expect(say).toEqual({
        type: 'say',
        service: 'applier',
        during: 'start',
        reason: REASON,
        consequence: { type: 'again', attempt: n + 1, delayMs: pause.delayMs },
      });
      expect(told(core.due('applier'))).toEqual(['start applier']);
    }
    expect(delays).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, PAUSE_MS_MAX, PAUSE_MS_MAX]);
  });

  it('has no end of tries', () => {
    const core = new SupervisorCore(ALL.slice(2));
    core.begin();
    for (let n = 0; n < 5_000; n++) {
      core.failed('applier', REASON, AGAIN, n);
      core.due('applier');
    }
    expect(told(core.failed('applier', REASON, AGAIN, 0))).toEqual([`pause applier ${PAUSE_MS_MAX}`]);
  });
});

describe('a service that cannot go on', () => {
  it('is closed before its pause begins', () => {
    const core = running();
    expect(told(core.failed('applier', REASON, AGAIN, 5))).toEqual(['stop applier']);
    expect(told(core.due('applier'))).toEqual([]);
    expect(told(core.stopped('applier', true))).toEqual([`pause applier ${PAUSE_MS}`]);
    expect(told(core.due('applier'))).toEqual(['start applier']);
    expect(told(core.started('applier', 300))).toEqual([]);
  });

  it('has the first pause again when it was well, and a longer one when it was not', () => {
    const core = running();
    const fail = (nowMs: number): string[] => {
      core.failed('applier', REASON, AGAIN, nowMs);
      return told(core.stopped('applier', true));
    };
    const restart = (nowMs: number): void => {
      core.due('applier');
      core.started('applier', nowMs);
    };
    expect(fail(10)).toEqual(['pause applier 250']);
    restart(1_000);
    expect(fail(1_000 + WELL_MS - 1)).toEqual(['pause applier 500']);
    restart(100_000);
    expect(fail(100_000 + WELL_MS)).toEqual(['pause applier 250']);
  });

  it('is not started again when it held the lock and is not closed', () => {
    const core = running();
    expect(told(core.failed('replica', REASON, AGAIN, 5))).toEqual(['stop replica']);
    expect(told(core.stopped('replica', false))).toEqual(['stop merger']);
    expect(told(core.stopped('merger', true))).toEqual(['stop applier']);
    expect(told(core.stopped('applier', true))).toEqual(['end 1']);
  });

  it('is started again when another one holds the lock', () => {
    const core = running();
    core.failed('applier', REASON, AGAIN, 5);
    expect(told(core.stopped('applier', false))).toEqual(['pause applier 250']);
  });

  it('as the replica is started again alone', () => {
    const core = running();
    core.failed('replica', REASON, AGAIN, 5);
    core.stopped('replica', true);
    expect(told(core.due('replica'))).toEqual(['start replica']);
    expect(told(core.started('replica', 300))).toEqual([]);
  });

  it('and must not, stays down while the others run; the process ends when there are none', () => {
    const core = running();
    const [say, stop] = core.failed('applier', REASON, DOWN, 5);
    expect(say).toMatchObject({ during: 'run', consequence: { type: 'down' } });
    expect(stop).toEqual({ type: 'stop', service: 'applier' });
    expect(core.stopped('applier', true)).toEqual([]);
    expect(core.due('applier')).toEqual([]);

    const alone = running(ALL.slice(2));
    alone.failed('applier', REASON, DOWN, 5);
    expect(told(alone.stopped('applier', true))).toEqual(['end 1']);
  });
});

describe('what no try mends', () => {
  it('ends the process with its exit code, everything stopped in order', () => {
    const core = running();
    expect(told(core.failed('merger', REASON, { type: 'end', exitCode: 2 }, 5))).toEqual(['stop replica']);
    expect(told(core.stopped('replica', true))).toEqual(['stop merger']);
    expect(told(core.stopped('merger', true))).toEqual(['stop applier']);
    expect(told(core.stopped('applier', true))).toEqual(['end 2']);
  });

  it('ends it also from a start', () => {
    const core = new SupervisorCore(ALL);
    core.begin();
    core.started('replica', 0);
    core.started('merger', 0);
    expect(told(core.failed('applier', REASON, END, 5))).toEqual(['stop replica']);
    core.stopped('replica', true);
    expect(told(core.stopped('merger', true))).toEqual(['end 1']);
  });
});

describe('the stop', () => {
  it('is in order and with exit code 0; one that does not close holds up nobody', () => {
    const core = running();
    expect(told(core.stop())).toEqual(['stop replica']);
    expect(core.stop()).toEqual([]);
    expect(told(core.stopped('replica', false))).toEqual(['stop merger']);
    expect(told(core.stopped('merger', true))).toEqual(['stop applier']);
    expect(told(core.stopped('applier', true))).toEqual(['end 0']);
  });

  it('between two tries ends the pause, and starts nothing any more', () => {
    const core = new SupervisorCore(ALL);
    core.begin();
    core.started('replica', 0);
    core.started('merger', 0);
    core.failed('applier', REASON, AGAIN, 5);
    expect(told(core.stop())).toEqual(['wake applier', 'stop replica']);
    expect(core.due('applier')).toEqual([]);
    core.stopped('replica', true);
    expect(told(core.stopped('merger', true))).toEqual(['end 0']);
  });

  it('of what is starting gives the start up, and waits for what comes of it', () => {
    const core = new SupervisorCore(ALL);
    core.begin();
    core.started('replica', 0);
    core.started('applier', 0);
    expect(told(core.stop())).toEqual(['give-up merger', 'stop replica']);
    expect(told(core.stopped('replica', true))).toEqual([]);
    expect(told(core.failed('merger', REASON, AGAIN, 5))).toEqual(['stop applier']);
    expect(told(core.stopped('applier', true))).toEqual(['end 0']);
  });

  it('of what has started all the same stops that too', () => {
    const core = new SupervisorCore(ALL);
    core.begin();
    expect(told(core.stop())).toEqual(['give-up replica']);
    expect(told(core.started('replica', 5))).toEqual(['stop replica']);
    expect(told(core.stopped('replica', true))).toEqual(['end 0']);
  });

  it('of what is being closed after a failure waits for that', () => {
    const core = running();
    core.failed('replica', REASON, AGAIN, 5);
    expect(told(core.stop())).toEqual([]);
    expect(told(core.stopped('replica', true))).toEqual(['stop merger']);
  });

  it('hears no failure any more', () => {
    const core = running();
    core.stop();
    expect(core.failed('replica', REASON, END, 5)).toEqual([]);
    expect(core.failed('applier', REASON, END, 5)).toEqual([]);
    core.stopped('replica', true);
    core.stopped('merger', true);
    expect(told(core.stopped('applier', true))).toEqual(['end 0']);
  });
});
