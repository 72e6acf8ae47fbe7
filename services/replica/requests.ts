/**
 * What others ask of a replica beside Raft, commands and the feed: to compact its logs (T10), who
 * votes, to change a group's members (T11). Also what it asks its own applier when the leaders'
 * logs do not go back far enough (T10).
 */
import type { Msg, NatsConnection } from '@nats-io/nats-core';
import { messageOf, type ServiceHealth, TROUBLE_MS } from '../../shared/health/health.js';
import type { GroupId, LogIndex } from '../../shared/raft/entry.js';
import type { ConfigureRefusal } from '../../shared/raft/membership.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import { CraftError } from '../../shared/wire/errors.js';
import { requestInstall } from '../../shared/wire/install.js';
import { encodeError } from '../../shared/wire/reply.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import { encodeVoters } from '../../shared/wire/voters.js';
import type { ClientCommand } from './commands.js';
import { parseCompact } from './compact.js';
import { configureError, membersReply, parseChange } from './members.js';
import type { Runner } from './runner.js';

export interface RequestsOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly server: string;
  readonly groups: number;
  readonly runner: Runner<ClientCommand>;
  /**
   * Calls back with every message that may be answered. A service may have its answer on an inbox
   * of the services.
   */
  readonly listen: (subject: string, take: (message: Msg) => void, asker: 'service' | 'client') => void;
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
  readonly health: ServiceHealth<'replica'>;
}

/** Between two tries to get a snapshot (milliseconds). */
const INSTALL_RETRY_MS = 500;

export class ReplicaRequests {
  /**
   * The wait for a snapshot: since when, and until when if it is over (milliseconds, monotonic).
   */
  private wait: { readonly sinceMs: number; endMs: number; why: string } | undefined;

  constructor(private readonly options: RequestsOptions) {}

  /** Listens until the connection is closed. */
  start(): void {
    const { subjects, server, groups, runner, listen, health } = this.options;
    health.watch('snapshot', () => {
      const now = performance.now();
      if (this.wait === undefined) return undefined;
      const { sinceMs, endMs, why } = this.wait;
      // One that has failed is asked for again at once, if it is still needed.
      if (now - endMs > TROUBLE_MS || now - sinceMs < TROUBLE_MS) return undefined;
      return { why: `the logs of the leaders begin after where this one ends; ${why}`, forMs: now - sinceMs };
    });
    listen(
      subjects.compact(server),
      (message) => {
        this.reply(message, () => {
          const positions = parseCompact(message.data, groups);
          runner.dispatch((core) => core.compact(positions));
          return { ok: true };
        });
      },
      'service',
    );
    const tellVoters = (message: Msg) => void message.respond(encodeVoters(runner.core.groups));
    listen(subjects.voters(server), tellVoters, 'service');
    for (let group = 0; group < groups; group++) {
      listen(subjects.configure(group), (message) => this.configure(message, group), 'client');
    }
  }

  /**
   * The leaders' logs do not go back to where this one ends: the applier gets a snapshot, then the
   * logs go on from there.
   */
  async install(atLeast: readonly LogIndex[]): Promise<void> {
    const { connection, subjects, server, runner, logger, warn } = this.options;
    const wait = this.beginWait();
    try {
      const { mergedIndex, positions } = await requestInstall(connection, subjects.install(server), atLeast);
      logger.info({ mergedIndex }, 'the logs go on from the position of the state machine');
      this.wait = undefined;
      runner.dispatch((core) => core.installed(positions));
    } catch (error) {
      if (connection.isClosed() || connection.isDraining()) return;
      warn('no snapshot yet', error);
      wait.why = messageOf(error);
      wait.endMs = performance.now();
      await new Promise((resolve) => setTimeout(resolve, INSTALL_RETRY_MS));
      runner.dispatch((core) => core.installed(null));
    }
  }

  private beginWait(): { endMs: number; why: string } {
    const now = performance.now();
    const before = this.wait !== undefined && now - this.wait.endMs <= TROUBLE_MS ? this.wait : undefined;
    const why = before?.why ?? 'its applier has no snapshot yet';
    const wait = { sinceMs: before?.sinceMs ?? now, endMs: Number.POSITIVE_INFINITY, why };
    this.wait = wait;
    return wait;
  }

  /**
   * Only the leader answers: every server listens, since a group without a leader has none to ask.
   */
  private configure(message: Msg, id: GroupId): void {
    const { runner, logger } = this.options;
    const group = runner.core.groups[id];
    if (group?.role !== 'leader') return;
    this.reply(message, () => {
      const change = parseChange(message.data);
      if (change !== null) {
        let refusal: ConfigureRefusal | null = 'not-leader';
        runner.dispatch((core) => {
          refusal = core.configure(id, change);
        });
        if (refusal !== null) throw configureError(refusal, change);
        logger.info({ group: id, ...change }, 'members change');
      }
      return membersReply(group.configuration, group.commitIndex);
    });
  }

  private reply(message: Msg, answer: () => unknown): void {
    try {
      message.respond(JSON.stringify(answer()));
    } catch (error) {
      if (!(error instanceof CraftError)) this.options.warn(`failed on ${message.subject}`, error);
      const { data, headers } = encodeError(error, 'json');
      message.respond(data, headers === undefined ? {} : { headers });
    }
  }
}
