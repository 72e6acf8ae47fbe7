/** What became of the commands of the merged log, as the applier of a server tells it. */
import { setTimeout as delay } from 'node:timers/promises';
import { type NatsConnection, PermissionViolationError } from 'nats';
import type { MergedIndex, Timestamp } from '../../shared/raft/entry.js';
import { ask } from '../../shared/wire/ask.js';
import { OUTCOMES_MAX, type OutcomesReply, outcomesReply } from '../../shared/wire/outcomes.js';

/** How long one answer may take (milliseconds). */
const REQUEST_MS_MAX = 5_000;
/**
 * The end of the log is applied within this (milliseconds), or its outcomes are unknown; and
 * between two looks.
 */
const APPLIED_MS_MAX = 2_000;
const LOOK_MS = 50;

/** Where a command is in the merged log. */
export interface Place {
  readonly index: MergedIndex;
  /** Microseconds since the Unix epoch. */
  readonly timestamp: Timestamp;
}

/** `unknown`: no longer kept; or the command has no id, repeated one, or is not applied yet. */
export type Outcome =
  | { readonly outcome: 'ok' | 'unknown' }
  | { readonly outcome: 'rejected' | 'failed'; readonly message: string };

export class Outcomes {
  private hasFailed = false;

  /**
   * `note` is called once, with the reason, when no outcomes can be had: from then on nothing is
   * asked.
   */
  constructor(
    private readonly connection: NatsConnection,
    private readonly subject: string,
    private readonly note: (why: string) => void,
  ) {}

  /**
   * What became of these commands, whose indexes follow each other: one each, in their order. Empty
   * when it cannot be had.
   */
  async of(places: readonly Place[]): Promise<readonly Outcome[]> {
    const all: Outcome[] = [];
    for (let at = 0; at < places.length; at += OUTCOMES_MAX) {
      const page = places.slice(at, at + OUTCOMES_MAX);
      const known = await this.page(page);
      if (known === undefined) return [];
      const byIndex = new Map(known.outcomes.map((one) => [one.index, one]));
      for (const { index, timestamp } of page) {
        const found = byIndex.get(index);
        if (found === undefined || found.timestamp !== timestamp) all.push({ outcome: 'unknown' });
        else if (found.outcome === 'ok') all.push({ outcome: 'ok' });
        else all.push({ outcome: found.outcome, message: found.message ?? '' });
      }
    }
    return all;
  }

  private async page(places: readonly Place[]): Promise<OutcomesReply | undefined> {
    const [from = 0, to = 0] = [places[0]?.index, places.at(-1)?.index];
    const startMs = performance.now();
    while (!this.hasFailed) {
      const reply = await this.ask(from, to);
      // The stream may be ahead of the database.
      if (reply === undefined || reply.appliedIndex >= to || performance.now() - startMs > APPLIED_MS_MAX) return reply;
      await delay(LOOK_MS);
    }
    return undefined;
  }

  private async ask(from: number, to: number): Promise<OutcomesReply | undefined> {
    try {
      const message = await ask(this.connection, this.subject, JSON.stringify({ from, to }), {
        timeout: REQUEST_MS_MAX,
      });
      const reply = outcomesReply.parse(message.json());
      if (reply.ok) return reply;
      throw new Error(`${reply.error.code}: ${reply.error.message}`);
    } catch (error) {
      this.hasFailed = true;
      this.note(`outcomes are not shown: ${reasonOf(error, this.subject)}`);
      return undefined;
    }
  }
}

function reasonOf(error: unknown, subject: string): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof PermissionViolationError) return `these credentials may not ask ${subject}`;
  return error.cause === undefined ? error.message : reasonOf(error.cause, subject);
}
