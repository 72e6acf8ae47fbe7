/**
 * What a handler must not look at, different for each of two servers: clock, time zone, random
 * numbers, environment variables. Handlers of one process only: each world is there while one
 * handler runs, and the real one is there again afterwards.
 */

/**
 * How far the clock of the other server is ahead (milliseconds): a date, a month, a year differ,
 * too.
 */
export const CLOCK_AHEAD_MS = (365 + 31 + 1) * 86_400_000 + 3_723_004;

export type World = 'this server' | 'the other server';

const TIME_ZONES: Readonly<Record<World, string>> = {
  'this server': 'UTC',
  'the other server': 'Pacific/Kiritimati',
};

/** Runs `work` there. Only one such call at a time. */
export async function inWorld<T>(world: World, work: () => Promise<T>): Promise<T> {
  const { Date: date, process } = globalThis;
  const { random } = Math;
  const { env } = process;
  const zone = env['TZ'];
  // Node.js takes the time zone from the real variable.
  env['TZ'] = TIME_ZONES[world];
  if (world === 'this server') Math.random = () => random() / 2;
  else {
    Math.random = () => 0.5 + random() / 2;
    globalThis.Date = aheadOf(date);
    process.env = otherThan(env);
  }
  try {
    return await work();
  } finally {
    process.env = env;
    if (zone === undefined) delete env['TZ'];
    else env['TZ'] = zone;
    Math.random = random;
    globalThis.Date = date;
  }
}

function aheadOf(date: DateConstructor): DateConstructor {
  const now = (): number => date.now() + CLOCK_AHEAD_MS;
  return new Proxy(date, {
    construct: (target, given, newTarget) => Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget),
    apply: () => new date(now()).toString(),
    get: (target, key, receiver) => (key === 'now' ? now : Reflect.get(target, key, receiver)),
  });
}

/** What is set there is not set here, and the other way round. */
function otherThan(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return new Proxy(env, {
    get: (target, key) =>
      typeof key === 'string' && target[key] === undefined ? 'set at the other server' : undefined,
    has: (target, key) => !(key in target),
    ownKeys: () => [],
  });
}
