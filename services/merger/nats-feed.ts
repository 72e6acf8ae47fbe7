/** The feed of a replica in another process: a request on `<c>.feed.<server>`. */
import { type Msg, type NatsConnection, TimeoutError } from '@nats-io/nats-core';
import {
  type FeedSource,
  FeedUnavailableError,
  MergerReplacedError,
  OtherProtocolError,
} from '../../shared/link/feed.js';
import { ask } from '../../shared/wire/ask.js';
import {
  decodeFeedReply,
  encodeFeedRequest,
  MERGER_HEADER,
  mergerHeader,
  PROTOCOL_HEADER,
} from '../../shared/wire/feed.js';
import { PROTOCOL } from '../../shared/wire/protocol.js';
import { Subjects } from '../../shared/wire/subjects.js';

export interface NatsFeedOptions {
  readonly cluster: string;
  readonly server: string;
  readonly groups: number;
  /** How the replica tells mergers of this server apart. */
  readonly merger: string;
}

export function natsFeed(connection: NatsConnection, { cluster, server, groups, merger }: NatsFeedOptions): FeedSource {
  const subject = new Subjects(cluster).feed(server);
  const headers = mergerHeader(merger);
  return {
    async poll(request, timeoutMs) {
      let reply: Msg;
      try {
        reply = await ask(connection, subject, encodeFeedRequest(request), { timeout: timeoutMs, headers });
      } catch (error) {
        if (isTimeout(error)) return null;
        throw new FeedUnavailableError('the replica does not answer', { cause: error });
      }
      const newer = reply.headers?.get(MERGER_HEADER);
      if (newer) throw new MergerReplacedError(server, merger, newer);
      const reads = reply.headers?.get(PROTOCOL_HEADER);
      if (reads) throw new OtherProtocolError(server, PROTOCOL.writes, reads);
      return decodeFeedReply(reply.data, groups);
    },
  };
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && (error.name === 'TimeoutError' || error.cause instanceof TimeoutError);
}
