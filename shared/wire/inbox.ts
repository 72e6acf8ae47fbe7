/** Inboxes: the subjects on which a client of NATS hears the answers to its requests. */
import { createInbox, type NatsConnection } from 'nats';

/** Of the reply subjects with which NATS replaces those of requests that an account imports. */
const IMPORTED_REPLY = '_R_.';

/**
 * Whether a request has come from another account. Then an answer reaches the requester on the
 * reply subject of the message alone. An inbox that is named elsewhere belongs to an account that
 * this service does not see.
 */
export function isFromOtherAccount(reply: string | undefined): reply is string {
  return reply?.startsWith(IMPORTED_REPLY) ?? false;
}

/**
 * A new inbox of this connection. It has the connection's own prefix, which is all that its user
 * may subscribe to.
 */
export function inboxOf(connection: NatsConnection): string {
  // The library uses it for its own requests, and has no other way to tell it.
  const { options } = connection as { options?: { inboxPrefix?: string } };
  return createInbox(options?.inboxPrefix);
}
