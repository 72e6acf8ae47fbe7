/**
 * Answers to clients: each applied command's result, from the applier of the server that stamped
 * it.
 */
import type { Applied, MergedCommand } from '../../shared/engine/port.js';
import type { ServerId } from '../../shared/raft/entry.js';
import { itemAt } from '../../shared/raft/lists.js';
import type { Answers, ReplyAddress } from '../../shared/wire/answers.js';
import type { Subjects } from '../../shared/wire/subjects.js';

const UNTRUSTED =
  'the command is in the log, but the state of this server cannot be trusted: send it again with the same id';

/**
 * Sends the answers that are this server's to give to the commands of one transaction; returns how
 * many. Results of a state that is not to be trusted are not told.
 */
export function answer(
  answers: Answers,
  subjects: Subjects,
  server: ServerId,
  commands: readonly MergedCommand[],
  applied: readonly Applied[],
  isTrusted: boolean,
  onError: (error: unknown) => void,
): number {
  let answered = 0;
  for (let at = 0; at < commands.length; at++) {
    const command = itemAt(commands, at);
    const result = itemAt(applied, at);
    const { reply, replyFormat, replyNumber = 0 } = command;
    if (reply === '' || command.server !== server || !subjects.isReply(reply)) continue;
    const to = { reply, replyFormat, replyNumber };
    // Each by itself: one that cannot be sent (a result larger than a message) must not silence the
    // ones after it.
    try {
      if (isTrusted) answerOne(answers, to, result);
      else answers.fail(to, 'TIMEOUT_UNKNOWN', UNTRUSTED);
      answered += 1;
    } catch (error) {
      onError(error);
      answers.fail(to, 'INTERNAL', 'the command was executed, but its result cannot be sent');
    }
  }
  answers.flush();
  return answered;
}

/** A duplicate gets the first one's place and result (T8). */
function answerOne(answers: Answers, to: ReplyAddress, applied: Applied): void {
  const { outcome, group, timestamp, mergedIndex: index } = applied;
  if (outcome.ok) answers.succeed(to, { group, timestamp, index, resultJson: outcome.json });
  else answers.fail(to, outcome.failed ? 'INTERNAL' : 'REJECTED', outcome.message);
}
