/** One request, asked once, and what it came to (T9). */
import type { MsgHdrs } from 'nats';
import { readReply, type Success } from '../../shared/client/reply.js';
import type { Requester } from '../../shared/client/requester.js';
import { CraftError } from '../../shared/wire/errors.js';

export type Answer =
  | { readonly outcome: 'ok'; readonly success: Success }
  | { readonly outcome: 'fail' | 'unknown'; readonly error: string };

export async function ask(
  requester: Requester,
  request: { subject: string; input: unknown; header?: MsgHdrs; id?: string },
  timeoutMs: number,
): Promise<Answer> {
  const { subject, input, header, id = '' } = request;
  const message = await requester.request(subject, JSON.stringify(input), header, timeoutMs);
  if (message === 'no-responders') return { outcome: 'fail', error: message };
  if (message === 'timeout' || message === 'closed') return { outcome: 'unknown', error: message };
  const reply = readReply(message, id);
  if (reply === undefined) return { outcome: 'unknown', error: 'malformed reply' };
  if (!(reply instanceof CraftError)) return { outcome: 'ok', success: reply };
  return { outcome: reply.code === 'TIMEOUT_UNKNOWN' ? 'unknown' : 'fail', error: reply.code };
}
