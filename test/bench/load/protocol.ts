/** What the parent and the load process tell each other. */
import type { Summary } from '../summary.js';
import type { Gap } from './gaps.js';

/** How a put reaches what is measured, and when it counts as done. */
export type Target =
  /** A command of craft by a plain NATS client: one message, one reply. */
  | {
      readonly kind: 'craft';
      readonly urls: readonly string[];
      readonly subject: string;
      readonly ack: 'applied' | 'ordered' | 'committed';
    }
  /** Calls of the SDK, many at once from one client. */
  | { readonly kind: 'sdk'; readonly urls: readonly string[]; readonly cluster: string }
  /** A command that is refused: an object of `keys` members, none of which any command has. */
  | { readonly kind: 'refused'; readonly urls: readonly string[]; readonly subject: string; readonly keys: number }
  /** A publish to a JetStream stream, and its acknowledgement. */
  | { readonly kind: 'publish'; readonly urls: readonly string[]; readonly subject: string }
  /** The same, answered by a consumer that has applied it. */
  | { readonly kind: 'peer'; readonly urls: readonly string[]; readonly subject: string }
  /** A put of etcd. */
  | { readonly kind: 'etcd'; readonly urls: readonly string[] };

/** What is put, and over how many connections. */
export interface Workload {
  readonly connections: number;
  readonly keys: number;
  readonly valueBytes: number;
  /** With an idempotency id, where there is such a thing. */
  readonly withId: boolean;
}

export type Load =
  /** A new request for each one that is answered. */
  | { readonly kind: 'closed'; readonly inFlight: number }
  /** The same, with another number of requests every `everySeconds`. */
  | { readonly kind: 'changing'; readonly inFlight: readonly number[]; readonly everySeconds: number }
  /** So many requests a second, whatever becomes of those before. */
  | { readonly kind: 'open'; readonly perSecond: number };

export interface LoadRun {
  readonly target: Target;
  readonly workload: Workload;
  readonly load: Load;
  readonly warmUpSeconds: number;
  /** Measured, unless the parent ends that earlier. */
  readonly seconds: number;
  /** Tell at once of gaps that are at least so long (milliseconds). */
  readonly tellGapsMs?: number;
}

export type ToLoad =
  | { readonly order: 'run'; readonly run: LoadRun }
  /** The measured seconds of the run are over; without a run, nothing. */
  | { readonly order: 'end' };

/** Summary: of the requests that ended well while measuring. */
export interface LoadResult extends Summary {
  /** Over the whole run, warm-up included: ended well. */
  readonly succeeded: number;
  /** Over the whole run, warm-up included: how many, by kind of failure. */
  readonly failures: Readonly<Record<string, number>>;
  /** While measuring: the longest times in which no request ended well, the longest first. */
  readonly gaps: readonly Gap[];
  /**
   * While measuring: the longest time for which the load process itself did nothing (milliseconds).
   */
  readonly ownStallMs: number;
  /** While measuring: requests that an open load sent, of those that were due. */
  readonly offered: number;
  readonly due: number;
}

export type FromLoad =
  | { readonly event: 'measuring' }
  | { readonly event: 'gap'; readonly gap: Gap }
  | { readonly event: 'measured' }
  | { readonly event: 'done'; readonly result: LoadResult }
  | { readonly event: 'failed'; readonly message: string };
