/** One way to send puts. */

/**
 * `failure`: undefined when the put ended well, else a code or a few words; called exactly once,
 * never synchronously.
 */
export type OnOutcome = (failure: string | undefined) => void;

export interface Sender {
  send(onOutcome: OnOutcome): void;
  close(): Promise<void>;
}

/** How long a request may take before it counts as failed (milliseconds). */
export const TIMEOUT_MS = 10_000;
