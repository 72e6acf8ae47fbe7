/**
 * The feed: from the replica to the merger of the same server. A port with two adapters: this
 * file's, for services of one process, where nothing is encoded; and requests over NATS
 * (services/merger/nats-feed.ts) for processes of their own.
 */

import { NamedError } from '../errors.js';
import type { FeedReply, FeedRequest } from '../wire/feed.js';

/** Another merger of this server has started after this one. */
export class MergerReplacedError extends NamedError {
  readonly code = 'MERGER_REPLACED';
  constructor(server: string, own: string, newer: string) {
    super(`another merger of server ${server} has started (${newer}) after this one (${own}): only one may run`);
  }
}

/**
 * The replica of this server is of another build of craft, which cannot read what this merger
 * writes.
 */
export class OtherProtocolError extends NamedError {
  readonly code = 'OTHER_PROTOCOL';
  constructor(server: string, writes: number, reads: string) {
    super(
      `this merger writes protocol ${writes}, and the replica of ${server} reads ${reads}: run one version of craft at a server`,
    );
  }
}

/** There is no replica that answers. Ask again. */
export class FeedUnavailableError extends Error {
  readonly code = 'FEED_UNAVAILABLE';
}

export interface FeedSource {
  /**
   * Resolves when the merge can go on: a long poll. Null: nothing has come for `timeoutMs`.
   * @throws MergerReplacedError, OtherProtocolError, FeedUnavailableError
   */
  poll(request: FeedRequest, timeoutMs: number): Promise<FeedReply | null>;
}

/**
 * Takes a poll, and calls back at most once: with the answer, or with the merger that has replaced
 * the one that asks.
 */
export type FeedHandler = (
  merger: string,
  request: FeedRequest,
  answer: (reply: FeedReply | { readonly newer: string }) => void,
) => void;

/**
 * Between the replica and the merger of one process. Outlives both: each may be started again
 * alone.
 */
export class DirectFeed {
  private handler: FeedHandler | undefined;
  /** Polls that are not answered. */
  private readonly rejects = new Set<(error: Error) => void>();

  /** The replica answers from now on; the returned function ends that. */
  serve(handler: FeedHandler): () => void {
    this.handler = handler;
    return () => {
      if (this.handler !== handler) return;
      this.handler = undefined;
      for (const reject of this.rejects) reject(new FeedUnavailableError('the replica has stopped'));
      this.rejects.clear();
    };
  }

  /** The feed as the merger of this name sees it. */
  source(server: string, merger: string): FeedSource {
    return {
      poll: (request, timeoutMs) =>
        new Promise((resolve, reject) => {
          const { handler } = this;
          if (handler === undefined) {
            reject(new FeedUnavailableError('the replica has not started'));
            return;
          }
          const end = () => {
            clearTimeout(timer);
            this.rejects.delete(fail);
          };
          const fail = (error: Error) => {
            end();
            reject(error);
          };
          const timer = setTimeout(() => {
            end();
            resolve(null);
          }, timeoutMs);
          timer.unref();
          this.rejects.add(fail);
          handler(merger, request, (reply) => {
            end();
            if ('newer' in reply) reject(new MergerReplacedError(server, merger, reply.newer));
            else resolve(reply);
          });
        }),
    };
  }
}
