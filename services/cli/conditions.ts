/**
 * What is wrong with servers by their own word, and which of them stand still although they do not
 * say so. Pure.
 */
import type { ServerHealth, ServiceHealth } from '../../shared/client/index.js';

/** What has not moved for so long stands still, when others are further (milliseconds). */
const STILL_MS = 3_000;
const SERVICES = ['replica', 'merger', 'applier'] as const;

/**
 * Everything that is not ok at one server, a sentence each. `isLed`: every group has a leader, by
 * the word of the others.
 */
export function troublesOf({ server, services }: ServerHealth, isLed: boolean): string[] {
  const said = services.flatMap(({ service, conditions }) =>
    conditions.flatMap(({ condition, ok, since, why = condition, remedy }) => {
      // A group without a leader is said once, not by each server.
      if (ok || (condition === 'leader' && !isLed)) return [];
      const what = `${server} ${service}: ${why} (${condition}, since ${new Date(since).toISOString()})`;
      return [remedy === undefined ? what : `${what}; ${remedy}`];
    }),
  );
  const missing = SERVICES.filter((name) => !services.some(({ service }) => service === name));
  return [...said, ...missing.map((name) => `${server} ${name}: it does not answer; check that it runs`)];
}

/** Whether all services of a server do their work, by their own word. */
export function serves({ services }: ServerHealth): boolean {
  return SERVICES.every((name) => services.some(({ service, serves: does }) => service === name && does));
}

interface Place {
  readonly server: string;
  readonly service: string;
  readonly position: number;
}

/**
 * Services that have not moved for seconds while the same service of another server is further, and
 * that say nothing of it.
 */
export function suspects(servers: readonly ServerHealth[]): Place[] {
  const all = servers.flatMap(({ server, services }) => services.map((one) => ({ server, ...one })));
  return all.flatMap(({ server, service, position, stillMs = 0, conditions }) => {
    if (position === undefined || stillMs < STILL_MS || conditions.some(({ ok }) => !ok)) return [];
    return position < furthest(all, service) ? [{ server, service, position }] : [];
  });
}

/**
 * The same after a second look: those that were suspected before, have not moved since, and are
 * still behind where another one was then. One look would also find a server that is about to move.
 */
export function standing(before: readonly ServerHealth[], now: readonly ServerHealth[]): string[] {
  const earlier = suspects(before);
  const was = before.flatMap(({ services }) => services);
  return suspects(now).flatMap(({ server, service, position }) => {
    const isSame = earlier.some((one) => one.server === server && one.service === service && one.position === position);
    const others = furthest(was, service);
    if (!isSame || position >= others) return [];
    const at = `${server} ${service}: it stands still at ${position}, while another server is at ${others}`;
    return [`${at}; read its log, and restart it if this lasts`];
  });
}

function furthest(all: readonly Pick<ServiceHealth, 'service' | 'position'>[], service: string): number {
  return Math.max(0, ...all.map((one) => (one.service === service ? (one.position ?? 0) : 0)));
}
