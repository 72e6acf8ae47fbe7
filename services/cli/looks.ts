/** What all servers say of themselves: one look, or two where one may stand still. */
import { setTimeout as delay } from 'node:timers/promises';
import type { ServerHealth } from '../../shared/client/index.js';
import { messageOf } from '../../shared/errors.js';
import { suspects } from './conditions.js';
import type { StatusLine } from './health.js';
import { mergedIndexOf } from './log.js';
import type { Session } from './session.js';

/** Before a server that may stand still is asked again (milliseconds). */
const AGAIN_MS = 1_000;

export interface Look {
  readonly servers: readonly StatusLine[];
  /**
   * None where NATS does not let this user ask, as before the question was there: the status says
   * enough.
   */
  readonly healths: readonly ServerHealth[];
  /** The healths of the look before; undefined when there was none. */
  readonly before: readonly ServerHealth[] | undefined;
}

/**
 * Takes up to a second, as long as servers answer. @throws UnavailableError when nobody can be
 * asked.
 */
export async function look(session: Session): Promise<Look> {
  const [servers, healths] = await Promise.all([statusLines(session), session.client.health().catch(() => [])]);
  return { servers, healths, before: undefined };
}

/**
 * The same, and a second look one second later where a service may stand still. @throws
 * UnavailableError
 */
export async function lookTwice(session: Session): Promise<Look> {
  const first = await look(session);
  if (suspects(first.healths).length === 0) return first;
  await delay(AGAIN_MS);
  return { ...(await look(session)), before: first.healths };
}

async function statusLines({ connection, client, subjects }: Session): Promise<StatusLine[]> {
  return await Promise.all(
    (await client.status()).map(async (status) => {
      const log = { stream: subjects.logStream(status.server), subject: subjects.logSubject(status.server) };
      try {
        return { ...status, mergedIndex: await mergedIndexOf(connection, log) };
      } catch (error) {
        return { ...status, streamError: messageOf(error) };
      }
    }),
  );
}
