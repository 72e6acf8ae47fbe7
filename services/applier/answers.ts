/** Answers to clients: each applied command's result, from the applier of the server that stamped it. */
import type { NatsConnection } from '@nats-io/nats-core';
import type { Applied, MergedCommand } from '../../shared/engine/port.js';
import type { ServerId } from '../../shared/raft/entry.js';
import { CraftError } from '../../shared/wire/errors.js';
import { encodeError, encodeFailure, encodeSuccess, type Reply } from '../../shared/wire/reply.js';
import type { Subjects } from '../../shared/wire/subjects.js';

/** A duplicate gets the first one's place and result (T8). */
export function encodeAnswer(command: MergedCommand, applied: Applied): Reply {
  const { outcome, group, timestamp, mergedIndex: index } = applied;
  if (!outcome.ok) return encodeFailure(outcome.failed ? 'INTERNAL' : 'REJECTED', outcome.message, command.replyFormat);
  return encodeSuccess({ group, timestamp, index, resultJson: outcome.json }, command.replyFormat);
}

const UNTRUSTED =
  'the command is in the log, but the state of this server is not to be trusted: ask again with the same id';

/** Publishes the answers that are this server's to give; returns how many. Results of a state that is not to be trusted are not told. */
export function answer(
  connection: NatsConnection,
  subjects: Subjects,
  server: ServerId,
  commands: readonly MergedCommand[],
  applied: readonly Applied[],
  isTrusted: boolean,
  onError: (error: unknown) => void,
): number {
  let answered = 0;
  for (let at = 0; at < commands.length; at++) {
    const command = commands[at];
    const result = applied[at];
    if (command === undefined || result === undefined) continue;
    if (command.reply === '' || command.server !== server || !subjects.isReply(command.reply)) continue;
    // Each by itself: one that cannot be sent (a result larger than a message) must not silence the ones after it.
    try {
      const reply = isTrusted
        ? encodeAnswer(command, result)
        : encodeError(new CraftError('TIMEOUT_UNKNOWN', UNTRUSTED), command.replyFormat);
      publish(connection, command.reply, reply);
      answered += 1;
    } catch (error) {
      onError(error);
      const message = 'the command was executed, but its result cannot be sent';
      publish(connection, command.reply, encodeFailure('INTERNAL', message, command.replyFormat));
    }
  }
  return answered;
}

function publish(connection: NatsConnection, subject: string, { data, headers }: Reply): void {
  if (headers === undefined) connection.publish(subject, data);
  else connection.publish(subject, data, { headers });
}
