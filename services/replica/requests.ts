/**
 * Answers what others ask of a replica, except for envelopes, commands and the feed. These requests
 * are read barriers (T6), status, voters, and changes of a group's members (T11). Others tell it to
 * compact its logs (T10), and which version is in force (T12).
 */
import type { Msg } from '@nats-io/nats-core';
import type { Admission } from '../../shared/engine/admission.js';
import type { GroupId, LogIndex } from '../../shared/raft/entry.js';
import type { ConfigureRefusal } from '../../shared/raft/membership.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import { encodeBarrierReply } from '../../shared/wire/barrier.js';
import { CraftError } from '../../shared/wire/errors.js';
import { parseJson } from '../../shared/wire/json.js';
import { versionNotice } from '../../shared/wire/machine.js';
import { encodeError } from '../../shared/wire/reply.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import { encodeVoters } from '../../shared/wire/voters.js';
import type { ClientCommand } from './commands.js';
import { parseCompact } from './compact.js';
import { BARRIERS_MAX } from './core/barrier.js';
import type { ReplicaCore } from './core/server.js';
import type { EffectOf } from './executor.js';
import { configureError, membersReply, parseChange } from './members.js';
import { PendingRequests } from './pending-requests.js';
import type { Dispatch } from './runner.js';
import type { ServerStatus } from './status.js';
import type { Transport } from './transport.js';

export interface RequestsOptions {
  readonly transport: Pick<Transport, 'listen'>;
  readonly subjects: Subjects;
  readonly server: string;
  readonly core: ReplicaCore<ClientCommand>;
  readonly dispatch: Dispatch<ClientCommand>;
  readonly admission: Pick<Admission, 'onInForce'>;
  readonly status: () => ServerStatus;
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
}

export class ReplicaRequests {
  private readonly barriers: PendingRequests<undefined, readonly LogIndex[]>;

  constructor(private readonly options: RequestsOptions) {
    const { dispatch } = options;
    this.barriers = new PendingRequests(
      BARRIERS_MAX,
      (id) => dispatch((core) => core.barrier(id)),
      (id) => dispatch((core) => core.forgetBarrier(id)),
    );
  }

  /** Listens until the connection is closed. */
  start(): void {
    const { transport, subjects, server, core, dispatch, admission, status } = this.options;
    const { groups } = core;
    transport.listen(subjects.barrier(server), (message) => {
      if (message.reply) this.barriers.add(undefined, (positions) => message.respond(encodeBarrierReply(positions)));
    });
    transport.listen(subjects.version(server), ({ data }) => admission.onInForce(parseJson(data, versionNotice)));
    transport.listen(subjects.compact(server), (message) => {
      this.reply(message, () => {
        const positions = parseCompact(message.data, groups.length);
        dispatch((core) => core.compact(positions));
        return { ok: true };
      });
    });
    transport.listen(subjects.voters(server), (message) => void message.respond(encodeVoters(groups)));
    for (const subject of [subjects.admin('status'), subjects.admin('status', server)]) {
      transport.listen(subject, (message) => void message.respond(JSON.stringify(status())), 'client');
    }
    for (const group of groups.keys()) {
      transport.listen(subjects.configure(group), (message) => this.configure(message, group), 'client');
    }
  }

  answerBarrier({ request, positions }: EffectOf<ClientCommand, 'barrier'>): void {
    this.barriers.answer(request, positions);
  }

  /**
   * Only the leader answers: every server listens, since a group without a leader has none to ask.
   */
  private configure(message: Msg, id: GroupId): void {
    const { core, dispatch, logger } = this.options;
    const group = core.groups[id];
    if (group?.role !== 'leader') return;
    this.reply(message, () => {
      const change = parseChange(message.data);
      if (change !== null) {
        let refusal: ConfigureRefusal | null = 'not-leader';
        dispatch((core) => {
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
