/**
 * Which reply subjects a service answers. NATS does not hold the reply subject of a request against
 * the requester's permissions. An answer to a subject of the cluster, of NATS itself, or to an
 * inbox of a service would be a message that a service sends in the requester's name.
 */
import { INBOX_PREFIX_DEFAULT } from './inbox-prefix.js';
import type { Subjects } from './subjects.js';

export class ReplyGuard {
  private readonly own: string | undefined;

  /**
   * @param inboxPrefix of the services. The default one says nothing: clients have it, too.
   * @param onRefused hears of each reply subject that is not answered
   */
  constructor(
    private readonly subjects: Pick<Subjects, 'isReply'>,
    inboxPrefix: string,
    private readonly onRefused: (reply: string) => void,
  ) {
    this.own = inboxPrefix === INBOX_PREFIX_DEFAULT ? undefined : inboxPrefix;
  }

  /**
   * Whether a request of a client may be answered there. True without a reply subject: there is
   * nothing to answer.
   */
  allowsClient(reply: string | undefined): boolean {
    return this.check(reply, !reply || (this.subjects.isReply(reply) && !this.isOwn(reply)));
  }

  /**
   * The same for a request on a subject that only services and operators may publish to: it may
   * come from a service.
   */
  allowsService(reply: string | undefined): boolean {
    return this.check(reply, !reply || this.subjects.isReply(reply));
  }

  private isOwn(reply: string): boolean {
    return this.own !== undefined && (reply === this.own || reply.startsWith(`${this.own}.`));
  }

  private check(reply: string | undefined, isAllowed: boolean): boolean {
    if (!isAllowed) this.onRefused(reply?.slice(0, 100) ?? '');
    return isAllowed;
  }
}

/** What services log, once in a while, of the reply subjects that they do not answer. */
export const REPLY_REFUSED = 'a request that wants its answer on a subject of the services';
