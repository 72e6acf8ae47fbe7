/** What callers may ask for, and what a command gives back. */
import type { ConnectionOptions, NatsConnection } from 'nats';

/**
 * When a command is answered (T7). `applied`: executed, with its result. `ordered`: its place in
 * the total order is final. `committed`: durable on a quorum, the fastest; later linearizable reads
 * see it, and later commands of this client come after it.
 */
export type Ack = 'applied' | 'ordered' | 'committed';

export interface CraftOptions {
  /**
   * NATS servers, `nats://host:port`; ignored with `connection`. Default `nats://127.0.0.1:4222`.
   */
  readonly servers?: string | string[];
  /**
   * More for the connection to `servers`: `authenticator`, `tls`, `inboxPrefix` and what else the
   * package `nats` takes.
   */
  readonly nats?: ConnectionOptions;
  /** A connection of the caller's, which `close` leaves open. */
  readonly connection?: NatsConnection;
  /** Name of the cluster; default `craft`. */
  readonly cluster?: string;
  /**
   * The server that gets commands and queries first: its name, or `nearest` for the one with the
   * shortest round trip, measured about every ten seconds while there are calls. Commands go to a
   * server that leads a group. What it does not take goes to any server. Default: whichever NATS
   * picks, which is one of the client's own NATS cluster when that has one.
   */
  readonly prefer?: string;
  /** Default for every call, retries included (milliseconds); default 10,000. */
  readonly timeoutMs?: number;
  /** How long one attempt waits before the call is tried again (milliseconds); default 2,500. */
  readonly attemptTimeoutMs?: number;
}

export interface CallOptions {
  /** For the whole call, retries included (milliseconds). */
  readonly timeoutMs?: number;
  /**
   * Ends the call early: with the signal's reason when nothing can have happened, else with
   * OutcomeUnknownError.
   */
  readonly signal?: AbortSignal;
}

export interface CommandOptions extends CallOptions {
  /**
   * Idempotency id; all commands of one id take effect once. Default: a new UUID, which makes the
   * retries of this call safe.
   */
  readonly id?: string;
  readonly ack?: Ack;
  /** Through the leader of this group instead of any leader. */
  readonly group?: number;
  /**
   * Be ordered after this timestamp (microseconds since the Unix epoch), for example one that
   * another client was answered.
   */
  readonly after?: number;
}

export interface QueryOptions extends CallOptions {
  /**
   * `linearizable` (default) sees everything acknowledged before the call; `local` what one server
   * has applied.
   */
  readonly consistency?: 'linearizable' | 'local';
}

export interface CommandReply<Result = unknown> {
  readonly id: string;
  readonly group: number;
  /** Microseconds since the Unix epoch. */
  readonly timestamp: number;
  /** Place in the merged log; only when applied. */
  readonly index?: number;
  /** Only when applied. */
  readonly result?: Result;
}
