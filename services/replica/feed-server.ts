/**
 * The replica's end of the feed. The merger of this server polls it directly in one process, and
 * over NATS otherwise. Of several mergers only the newest one is served.
 */
import type { Msg } from '@nats-io/nats-core';
import type { DirectFeed } from '../../shared/link/feed.js';
import type { ServerId } from '../../shared/raft/entry.js';
import {
  decodeFeedRequest,
  encodeFeedReply,
  type FeedReply,
  type FeedRequest,
  MERGER_HEADER,
  mergerHeader,
  protocolHeader,
} from '../../shared/wire/feed.js';
import { ProtocolError } from '../../shared/wire/protocol.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import type { ClientCommand } from './commands.js';
import type { EffectOf } from './executor.js';
import { Mergers } from './mergers.js';
import { PendingRequests } from './pending-requests.js';
import type { Dispatch } from './runner.js';
import type { Transport } from './transport.js';

/** Polls of mergers: more than one is only there while one merger replaces another. */
const POLLS_MAX = 8;
const NO_DATA = new Uint8Array(0);

export interface FeedServerOptions {
  readonly transport: Pick<Transport, 'listen' | 'guard'>;
  readonly subjects: Subjects;
  readonly server: ServerId;
  readonly groups: number;
  /** To a merger in this process. */
  readonly direct: Pick<DirectFeed, 'serve'> | undefined;
  readonly dispatch: Dispatch<ClientCommand>;
}

export class FeedServer {
  private readonly polls: PendingRequests<FeedRequest, FeedReply>;
  private readonly mergers = new Mergers();
  private endDirect: (() => void) | undefined;

  constructor(private readonly options: FeedServerOptions) {
    const { dispatch } = options;
    this.polls = new PendingRequests(
      POLLS_MAX,
      (id, request: FeedRequest) => dispatch((core) => core.poll(id, request)),
      (id) => dispatch((core) => core.forgetPoll(id)),
    );
  }

  start(): void {
    const { transport, subjects, server, direct } = this.options;
    transport.listen(subjects.feed(server), (message) => {
      const request = this.read(message);
      const newer = this.mergers.newerThan(message.headers?.get(MERGER_HEADER) ?? '');
      if (newer !== undefined) message.respond(NO_DATA, { headers: mergerHeader(newer) });
      else if (message.reply) this.polls.add(request, (reply) => message.respond(encodeFeedReply(reply)));
    });
    this.endDirect = direct?.serve((merger, request, answer) => {
      const newer = this.mergers.newerThan(merger);
      if (newer === undefined) this.polls.add(request, answer);
      else answer({ newer });
    });
  }

  answer(effect: EffectOf<ClientCommand, 'feed'>): void {
    this.options.transport.guard('feed', () => this.polls.answer(effect.request, effect));
  }

  /** The merger of this process gets nothing more. */
  stop(): void {
    this.endDirect?.();
  }

  /** A merger of another build is told why it gets nothing. */
  private read(message: Msg): FeedRequest {
    try {
      return decodeFeedRequest(message.data, this.options.groups);
    } catch (error) {
      if (error instanceof ProtocolError && message.reply) message.respond(NO_DATA, { headers: protocolHeader() });
      throw error;
    }
  }
}
