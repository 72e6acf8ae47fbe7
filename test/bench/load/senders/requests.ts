/** Puts by plain NATS clients: a message for each, and one message back. */
import { connect, headers, type Msg, type MsgHdrs, type NatsConnection } from 'nats';
import { Requester, type RequestFailure } from '../../../../shared/client/requester.js';
import { REPLY_TO } from '../../systems/reply-to.js';
import type { Target, Workload } from '../protocol.js';
import { Puts } from './puts.js';
import { type OnOutcome, type Sender, TIMEOUT_MS } from './sender.js';

type RequestTarget = Extract<Target, { kind: 'craft' | 'refused' | 'publish' | 'peer' }>;

/** A connection with the inbox for its replies. */
interface Line {
  readonly connection: NatsConnection;
  readonly requester: Requester;
}

/** Connections go to the servers in turn. */
export async function requestSender(target: RequestTarget, workload: Workload): Promise<Sender> {
  const lines = await Promise.all(
    Array.from({ length: workload.connections }, async (_, at): Promise<Line> => {
      const servers = target.urls[at % target.urls.length] ?? '';
      const connection = await connect({ servers, name: 'bench load', noAsyncTraces: true });
      // What is published to a stream is answered by its acknowledgement.
      const isReply = target.kind === 'publish' ? () => true : undefined;
      return { connection, requester: new Requester(connection, undefined, isReply).start() };
    }),
  );
  const send = sending(target, workload);
  let turn = 0;
  return {
    send(onOutcome) {
      const line = lines[turn++ % lines.length];
      if (line === undefined) throw new RangeError('no connection');
      send(line, onOutcome);
    },
    async close() {
      for (const { requester } of lines) requester.close();
      await Promise.all(lines.map(({ connection }) => connection.close()));
    },
  };
}

function sending(target: RequestTarget, workload: Workload): (line: Line, onOutcome: OnOutcome) => void {
  const puts = new Puts(workload);
  const withId = (): MsgHdrs => {
    const header = headers();
    if (workload.withId) header.set('Nats-Msg-Id', puts.id());
    return header;
  };
  switch (target.kind) {
    case 'publish':
    case 'craft': {
      const ack = target.kind === 'craft' && target.ack !== 'applied' ? target.ack : undefined;
      const hasHeaders = workload.withId || ack !== undefined;
      return ({ requester }, onOutcome) => {
        const payload = puts.nextPayload();
        const header = hasHeaders ? withId() : undefined;
        if (ack !== undefined) header?.set('Craft-Ack', ack);
        requester.send(target.subject, payload, header, TIMEOUT_MS, (reply) => onOutcome(failureOf(reply)));
      };
    }
    case 'peer':
      return ({ connection, requester }, onOutcome) => {
        const payload = puts.nextPayload();
        const header = withId();
        const publish = (replyTo: string): void => {
          header.set(REPLY_TO, replyTo);
          connection.publish(target.subject, payload, { headers: header });
        };
        requester.expect(TIMEOUT_MS, (reply) => onOutcome(failureOf(reply)), publish);
      };
    case 'refused': {
      const members = Array.from({ length: target.keys }, (_, n) => `"k${n}":0`);
      const payload = Buffer.from(`{${members.join(',')}}`);
      return ({ requester }, onOutcome) =>
        requester.send(target.subject, payload, undefined, TIMEOUT_MS, (reply) => onOutcome(failureOf(reply)));
    }
  }
}

/** The two kinds of good reply are recognised by how they begin; everything else is looked at. */
function failureOf(reply: Msg | RequestFailure): string | undefined {
  if (typeof reply === 'string') return reply;
  const text = reply.string();
  if (text.startsWith('{"ok":true') || (text.startsWith('{"stream":') && !text.includes('"error"'))) return undefined;
  try {
    const value = JSON.parse(text) as { ok?: boolean; error?: { code?: string | number } };
    return String(value.error?.code ?? 'refused');
  } catch {
    return 'malformed';
  }
}
