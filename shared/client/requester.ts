/**
 * Requests over one inbox subscription, for high rates: a request costs one map entry; a single
 * coarse timer serves the deadlines of all of them. (The request of the NATS client costs a timer,
 * three promises and a captured stack each.)
 */
import type { Msg, MsgHdrs, NatsConnection, Subscription } from 'nats';
import { inboxOf } from '../wire/inbox.js';
import { isPubAck } from '../wire/pub-ack.js';

/**
 * Why there is no reply. `no-responders`: NATS knew nobody who listens, so nothing has happened.
 * `timeout` and `closed`: the request may or may not have arrived.
 */
export type RequestFailure = 'no-responders' | 'timeout' | 'closed';

/**
 * Gets either a reply or the reason why there is none; called exactly once for each request, never
 * synchronously.
 */
export type OnReply = (reply: Msg | RequestFailure) => void;

interface Pending {
  readonly onReply: OnReply;
  /** On the clock of `performance.now()`, milliseconds. */
  readonly deadline: number;
}

const SWEEP_MS = 50;

export class Requester {
  private readonly prefix: string;
  private readonly pending = new Map<string, Pending>();
  private readonly options: { reply: string; headers?: MsgHdrs } = { reply: '' };
  private next = 0;
  private sweep: NodeJS.Timeout | undefined;
  private subscription: Subscription | undefined;

  /**
   * @param onRefused hears when NATS does not let this user: there are no replies then
   * @param isReply whether a message is a reply at all. By default the acknowledgement of a stream
   *   is none: a stream that has the subject of a request stores it, and says so to its sender
   */
  constructor(
    private readonly connection: NatsConnection,
    private readonly onRefused: (error: Error) => void = () => undefined,
    private readonly isReply: (data: Uint8Array) => boolean = (data) => !isPubAck(data),
  ) {
    this.prefix = `${inboxOf(connection)}.`;
  }

  /**
   * Listens on an inbox of its own, once, until `close`, or until the connection closes. Before
   * anything is sent. Throws when the connection is closed.
   */
  start(): this {
    const { connection } = this;
    this.subscription = connection.subscribe(`${this.prefix}*`, {
      callback: (error, message) => {
        if (error === null) this.onMessage(message);
        else this.onRefused(error);
      },
    });
    void connection.closed().then(() => this.close());
    return this;
  }

  /** Requests that have no reply yet. */
  get inFlight(): number {
    return this.pending.size;
  }

  /**
   * Publishes a request; `onReply` hears within `timeoutMs` plus 50 ms. Throws, and has then sent
   * nothing, when the connection is closed or the payload is larger than the NATS server takes.
   */
  send(
    subject: string,
    payload: Uint8Array | string,
    headers: MsgHdrs | undefined,
    timeoutMs: number,
    onReply: OnReply,
  ) {
    this.expect(timeoutMs, onReply, (reply) => {
      this.options.reply = reply;
      if (headers === undefined) delete this.options.headers;
      else this.options.headers = headers;
      this.connection.publish(subject, payload, this.options);
    });
  }

  /**
   * Waits for one message to a subject of its own, which `announce` tells to the server that is to
   * answer. For protocols that carry it elsewhere than in the reply field. Throws what `announce`
   * throws.
   */
  expect(timeoutMs: number, onReply: OnReply, announce: (reply: string) => void): void {
    const token = (this.next++).toString(36);
    announce(this.prefix + token);
    this.pending.set(token, { onReply, deadline: performance.now() + timeoutMs });
    this.sweep ??= setInterval(() => this.expire(), SWEEP_MS);
  }

  /** The same as a promise. Rejects where `send` throws. */
  request(
    subject: string,
    payload: Uint8Array | string,
    headers: MsgHdrs | undefined,
    timeoutMs: number,
  ): Promise<Msg | RequestFailure> {
    return new Promise((resolve) => this.send(subject, payload, headers, timeoutMs, resolve));
  }

  /** Ends all requests with `closed` and gives the inbox back. The connection stays open. */
  close(): void {
    this.subscription?.unsubscribe();
    this.stopSweep();
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const { onReply } of waiting) onReply('closed');
  }

  private onMessage(message: Msg): void {
    const token = message.subject.slice(this.prefix.length);
    const pending = this.pending.get(token);
    if (pending === undefined || !this.isReply(message.data)) return;
    this.pending.delete(token);
    // Only an empty message can be the server's word that nobody listens: no need to parse headers
    // of others.
    const nobodyListens = message.data.length === 0 && message.headers?.code === 503;
    pending.onReply(nobodyListens ? 'no-responders' : message);
  }

  private expire(): void {
    const now = performance.now();
    for (const [token, { deadline, onReply }] of this.pending) {
      if (deadline > now) continue;
      this.pending.delete(token);
      onReply('timeout');
    }
    if (this.pending.size === 0) this.stopSweep();
  }

  private stopSweep(): void {
    clearInterval(this.sweep);
    this.sweep = undefined;
  }
}
