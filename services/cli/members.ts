/**
 * `craft members`: who belongs to the cluster, and how that changes (T11). A server is added to, or
 * taken out of, one group after the other. Each step can be taken again, so a command that was
 * broken off is simply given again.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Msg, type NatsConnection, NoRespondersError, RequestError, TimeoutError } from '@nats-io/nats-core';
import { z } from 'zod';
import { CraftError } from '../../shared/client/index.js';
import { ask } from '../../shared/wire/ask.js';
import { ErrorCode } from '../../shared/wire/errors.js';
import { StoreRegistry } from '../../shared/wire/store-registry.js';
import type { Subjects } from '../../shared/wire/subjects.js';

const reply = z.discriminatedUnion('ok', [
  z.object({
    ok: z.literal(true),
    voters: z.array(z.string()),
    learners: z.array(z.string()),
    committed: z.boolean(),
  }),
  z.object({ ok: z.literal(false), error: z.object({ code: z.string(), message: z.string() }) }),
]);

/** The members of one group. */
export interface Members {
  readonly group: number;
  readonly voters: readonly string[];
  readonly learners: readonly string[];
  /** Whether a quorum has agreed to it. */
  readonly committed: boolean;
}

type Change = 'add' | 'promote' | 'demote' | 'remove';

const REQUEST_MS_MAX = 2_000;
const RETRY_MS = 200;
/** A server that was just started answers within this time (milliseconds). */
const STARTING_MS_MAX = 15_000;

export interface MembersOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly groups: number;
  /** For the whole change (milliseconds). */
  readonly timeoutMs: number;
  readonly print: (line: string) => void;
}

export class MembersAdmin {
  private readonly deadlineMs: number;

  constructor(private readonly options: MembersOptions) {
    this.deadlineMs = performance.now() + options.timeoutMs;
  }

  /** The members of every group. @throws CraftError UNAVAILABLE */
  async list(): Promise<Members[]> {
    return Promise.all(this.allGroups().map((group) => this.settled(group, null, '')));
  }

  /**
   * Learner first, then, once it has caught up, voter: group by group.
   * @throws CraftError REJECTED when that server does not answer; nothing has changed then. A
   *   learner that never comes would be left behind.
   */
  async add(server: string): Promise<void> {
    await this.requireStarted(server);
    for (const group of this.allGroups()) {
      const { voters } = await this.settled(group, null, server);
      if (!voters.includes(server)) {
        await this.settled(group, 'add', server);
        this.options.print(`group ${group}: ${server} is a learner and catches up`);
      }
      const after = await this.settled(group, 'promote', server);
      this.options.print(`group ${group}: ${server} is a voter; voters ${after.voters.join(', ')}`);
    }
  }

  /**
   * Out of the voters, leadership moved away first, then out of the group: group by group.
   * @throws CraftError REJECTED for a server that is no member, and never was one that may come
   *   again
   */
  async remove(server: string): Promise<void> {
    await this.requireKnown(server);
    for (const group of this.allGroups()) {
      const before = await this.settled(group, null, server);
      if (before.voters.includes(server)) await this.settled(group, 'demote', server);
      const after = await this.settled(group, 'remove', server);
      this.options.print(`group ${group}: ${server} is no member; voters ${after.voters.join(', ')}`);
    }
    // Its name may come again, with an empty log store.
    const { connection, subjects } = this.options;
    await (await StoreRegistry.open(connection, subjects)).remove(server);
  }

  private async requireStarted(server: string): Promise<void> {
    const { connection, subjects } = this.options;
    const untilMs = Math.min(performance.now() + STARTING_MS_MAX, this.deadlineMs);
    do {
      try {
        await ask(connection, subjects.admin('status', server), '{}', { timeout: REQUEST_MS_MAX });
        return;
      } catch (error) {
        if (!isNobodyThere(error)) throw error;
      }
      await delay(RETRY_MS);
    } while (performance.now() < untilMs);
    throw new CraftError('REJECTED', `${server} does not answer: start its services with CRAFT_JOIN=true first`);
  }

  private async requireKnown(server: string): Promise<void> {
    const groups = await this.list();
    const members = new Set(groups.flatMap(({ voters, learners }) => [...voters, ...learners]));
    if (members.has(server)) return;
    // A removal that was broken off at its last step may be given again.
    const { connection, subjects } = this.options;
    if (await (await StoreRegistry.open(connection, subjects)).has(server)) return;
    throw new CraftError('REJECTED', `${server} is no member; members are ${[...members].sort().join(', ')}`);
  }

  private allGroups(): number[] {
    return Array.from({ length: this.options.groups }, (_, group) => group);
  }

  /**
   * Asks until the change is in the log and committed; `null` only asks who the members are.
   * @throws CraftError for a definite refusal.
   */
  private async settled(group: number, change: Change | null, server: string): Promise<Members> {
    let why = `group ${group} has no leader`;
    while (performance.now() < this.deadlineMs) {
      const answer = await this.ask(group, change, server);
      if (typeof answer === 'string') why = answer;
      else if (answer.committed) return answer;
      else why = `group ${group}: the change is not committed yet`;
      await delay(RETRY_MS);
    }
    throw new CraftError('UNAVAILABLE', why);
  }

  /** The members, or why not yet. */
  private async ask(group: number, type: Change | null, server: string): Promise<Members | string> {
    const { connection, subjects } = this.options;
    const payload = type === null ? '' : JSON.stringify({ type, server });
    let message: Msg;
    try {
      message = await ask(connection, subjects.configure(group), payload, { timeout: REQUEST_MS_MAX });
    } catch (error) {
      if (isNobodyThere(error)) return `group ${group} has no leader`;
      throw error;
    }
    const parsed = reply.parse(message.json());
    if (parsed.ok) return { group, voters: parsed.voters, learners: parsed.learners, committed: parsed.committed };
    const { code, message: text } = parsed.error;
    const known = code in ErrorCode ? (code as ErrorCode) : 'INTERNAL';
    const error = new CraftError(known, `group ${group}: ${text}`);
    if (!error.retryable) throw error;
    return error.message;
  }
}

/** Only leaders answer: nobody at all, or nobody in time. */
function isNobodyThere(error: unknown): boolean {
  const cause = error instanceof RequestError ? (error.cause ?? error) : error;
  return cause instanceof TimeoutError || cause instanceof NoRespondersError || error instanceof TimeoutError;
}
