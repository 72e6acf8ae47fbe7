/**
 * `craft rebuild`: the state of a server that differs from the others is made again from a snapshot
 * (T4, T10).
 */
import type { Msg } from '@nats-io/nats-core';
import { z } from 'zod';
import { CraftError, OutcomeUnknownError } from '../../shared/client/index.js';
import { ask } from '../../shared/wire/ask.js';
import { hasNoResponders, isTimeout, parseReply } from './replies.js';
import type { Session } from './session.js';

const rebuilt = z.looseObject({ ok: z.literal(true), mergedIndex: z.number() });
/** As in CRAFT_SERVER: nothing else is part of a subject. */
const SERVER_NAME = /^[A-Za-z0-9_-]{1,32}$/;

/**
 * Resolves when the state of `server` is that of the newest snapshot that a majority has confirmed;
 * the log goes on from there.
 * @throws CraftError INVALID_ARGUMENT for a name that is none, UNAVAILABLE when no such server
 *   answers or there is no snapshot; OutcomeUnknownError when it takes longer than `timeoutMs`.
 */
export async function rebuild(
  session: Session,
  server: string,
  timeoutMs: number,
  print: (value: unknown) => void,
): Promise<void> {
  const { connection, subjects } = session;
  if (!SERVER_NAME.test(server)) throw new CraftError('INVALID_ARGUMENT', `${server} is not a name of a server`);
  let reply: Msg;
  try {
    reply = await ask(connection, subjects.admin('rebuild', server), '', { timeout: timeoutMs });
  } catch (error) {
    if (hasNoResponders(error))
      throw new CraftError('UNAVAILABLE', await noSuchServer(session, server), { cause: error });
    if (!isTimeout(error)) throw error;
    const message = `${server} has not answered in ${timeoutMs / 1000} s: it may still be rebuilt; craft status shows it`;
    throw new OutcomeUnknownError(message, '', { cause: error });
  }
  const { mergedIndex } = parseReply(rebuilt, reply.json());
  print({ server, mergedIndex });
}

async function noSuchServer({ client }: Session, server: string): Promise<string> {
  const there = (await client.status()).flatMap(({ server: name, state }) => (state === undefined ? [] : [name]));
  return `no applier of a server ${server} answers; those that do: ${there.join(', ') || 'none'}`;
}
