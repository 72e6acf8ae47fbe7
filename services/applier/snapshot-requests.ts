/**
 * What others ask of this server's state (T10): `<c>.install.<server>`, `<c>.admin.snapshot`,
 * `<c>.admin.snapshots`, `<c>.admin.restore.<server>`, `<c>.admin.rebuild.<server>`; and of what
 * became of commands: `<c>.admin.outcomes.<server>`. JSON.
 */
import { type Msg, type NatsConnection, NoRespondersError } from '@nats-io/nats-core';
import {
  type EnginePosition,
  SnapshotFormatError,
  type StorageEngine,
  VersionMissingError,
} from '../../shared/engine/port.js';
import type { SnapshotInfo } from '../../shared/snapshot/bucket.js';
import { ask } from '../../shared/wire/ask.js';
import { CraftError } from '../../shared/wire/errors.js';
import { parseJson } from '../../shared/wire/json.js';
import { locateRequest } from '../../shared/wire/locate.js';
import { OUTCOME_MESSAGE_MAX, type OutcomesReply, outcomesRequest } from '../../shared/wire/outcomes.js';
import { encodeError } from '../../shared/wire/reply.js';
import type { ReplyGuard } from '../../shared/wire/reply-guard.js';
import { type RestoreInput, restoreRequest } from '../../shared/wire/restore.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import { padded } from './core/snapshots/positions.js';
import type { Executor } from './executor.js';
import type { Snapshots } from './snapshots.js';

export interface SnapshotRequestsOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly replies: ReplyGuard;
  readonly server: string;
  readonly groups: number;
  readonly engine: Pick<StorageEngine, 'verify' | 'outcomes'>;
  readonly snapshots: Pick<Snapshots, 'list' | 'openFile'>;
  readonly executor: Pick<Executor, 'dispatch' | 'locates' | 'takes' | 'rebuilds'>;
  readonly onFailure: (error: unknown) => void;
}

/** Requests under way at once; the replica and the merger have one each. */
const UNDER_WAY_MAX = 16;
/** How long a restored file may take to be the state (milliseconds). */
const RESTORE_MS_MAX = 1_800_000;

export class SnapshotRequests {
  private underWay = 0;

  constructor(private readonly options: SnapshotRequestsOptions) {}

  /** Answers until the connection is closed. */
  start(): void {
    const { subjects, server, snapshots, executor } = this.options;
    this.listen(subjects.locate(server), (message) => this.locate(message.data));
    const take = () => this.take();
    // To all servers, and no answer is wanted: one of them does it.
    this.listen(subjects.admin('snapshot'), async (message) => {
      if (message.reply) return take();
      executor.dispatch((core) => core.wantSnapshot());
      return {};
    });
    this.listen(subjects.admin('snapshot', server), take);
    this.listen(subjects.admin('rebuild', server), () => this.rebuild());
    this.listen(subjects.admin('restore', server), (message) => this.restore(message.data));
    this.listen(subjects.admin('outcomes', server), (message) => this.outcomes(message.data));
    this.listen(subjects.admin('snapshots', server), async () => ({
      ok: true,
      snapshots: (await snapshots.list()).map(summary),
    }));
  }

  private listen(subject: string, answer: (message: Msg) => Promise<object>): void {
    this.options.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) void this.answer(message, answer);
      },
    });
  }

  /** One without a reply subject is done as well, without an answer. */
  private async answer(message: Msg, answer: (message: Msg) => Promise<object>): Promise<void> {
    const { subjects, server, replies, onFailure } = this.options;
    // A service asks where the state is, and nothing else.
    const isOfService = message.subject === subjects.locate(server);
    if (!(isOfService ? replies.allowsService(message.reply) : replies.allowsClient(message.reply))) return;
    this.underWay += 1;
    try {
      if (this.underWay > UNDER_WAY_MAX) throw new CraftError('OVERLOADED', 'too many requests are under way');
      const reply = JSON.stringify(await answer(message));
      if (message.reply) message.respond(reply);
    } catch (error) {
      if (!(error instanceof CraftError)) onFailure(error);
      const typed = error instanceof CraftError ? error : new CraftError('UNAVAILABLE', 'it could not be done now');
      this.refuse(message, typed);
    } finally {
      this.underWay -= 1;
    }
  }

  private refuse(message: Msg, error: CraftError): void {
    if (!message.reply) return;
    try {
      const { data, headers } = encodeError(error, 'json');
      message.respond(data, headers === undefined ? {} : { headers });
    } catch (cause) {
      // The connection is closed: there is no client to tell.
      this.options.onFailure(cause);
    }
  }

  /**
   * Before the file has a place in the log, this server checks that its engine can take it over: no
   * server could go past it any more. Whether there is a state that may not be lost is checked at
   * that place. Answered when this cluster's state is that of the file.
   */
  private async restore(data: Uint8Array): Promise<object> {
    const { connection, subjects } = this.options;
    const { object, replace } = parseJson(data, restoreRequest);
    const input: RestoreInput = { object, digest: await this.verifyFile(object), replace };
    const reply = await ask(connection, subjects.restore(), JSON.stringify(input), { timeout: RESTORE_MS_MAX }).catch(
      (cause: unknown) => {
        if (cause instanceof Error && cause.cause instanceof NoRespondersError) {
          throw new CraftError('UNAVAILABLE', 'group 0 has no leader now; try again', { cause });
        }
        const message = 'outcome unknown: the restore may have happened or may still happen';
        throw new CraftError('TIMEOUT_UNKNOWN', message, { cause });
      },
    );
    return reply.json<object>();
  }

  private async outcomes(data: Uint8Array): Promise<OutcomesReply> {
    const { from, to } = parseJson(data, outcomesRequest);
    const { appliedIndex, outcomes } = await this.options.engine.outcomes(from, to);
    return {
      ok: true,
      appliedIndex,
      outcomes: outcomes.map(({ mergedIndex: index, timestamp, outcome }) =>
        outcome.ok
          ? { index, timestamp, outcome: 'ok' }
          : {
              ...{ index, timestamp, outcome: outcome.failed ? 'failed' : 'rejected' },
              message: outcome.message.slice(0, OUTCOME_MESSAGE_MAX),
            },
      ),
    };
  }

  /** Its SHA-256. */
  private async verifyFile(object: string): Promise<string> {
    const { snapshots, engine } = this.options;
    try {
      const file = await snapshots.openFile(object);
      await engine.verify(file);
      return file.digest;
    } catch (cause) {
      if (!(cause instanceof SnapshotFormatError) && !(cause instanceof VersionMissingError)) throw cause;
      throw new CraftError('REJECTED', cause.message, { cause });
    }
  }

  private async locate(data: Uint8Array): Promise<object> {
    const { executor, groups } = this.options;
    const atLeast = parseLocate(data, groups);
    const position = await executor.locates.ask((request) =>
      executor.dispatch((core) => core.install(request, atLeast)),
    );
    if (position !== null) return located(position, groups);
    throw new CraftError('UNAVAILABLE', 'no snapshot reaches so far yet; one has been asked for');
  }

  private async take(): Promise<object> {
    const { executor, snapshots } = this.options;
    const taken = await executor.takes.ask((request) => executor.dispatch((core) => core.takeSnapshot(request)));
    const info = (await snapshots.list()).find(({ name }) => name === taken?.name);
    if (info !== undefined) return summary(info);
    throw new CraftError('UNAVAILABLE', 'no majority of servers has confirmed a snapshot in time');
  }

  private async rebuild(): Promise<object> {
    const { executor, groups } = this.options;
    const position = await executor.rebuilds.ask((request) => executor.dispatch((core) => core.rebuild(request)));
    if (position !== null) return located(position, groups);
    throw new CraftError(
      'UNAVAILABLE',
      'there is no snapshot that a majority of servers has confirmed, and none could be taken',
    );
  }
}

function parseLocate(data: Uint8Array, groups: number): readonly number[] {
  const { atLeast } = parseJson(data, locateRequest);
  if (atLeast.length === groups) return atLeast;
  throw new CraftError('INVALID_ARGUMENT', `${atLeast.length} indexes for ${groups} groups`);
}

function located({ mergedIndex, checksum, resultsChecksum, timestamp, positions }: EnginePosition, groups: number) {
  return { ok: true, mergedIndex, checksum, resultsChecksum, timestamp, positions: padded(positions, groups) };
}

function summary({ name, server, version, bytes, savedAt, position, confirmed }: SnapshotInfo) {
  const { mergedIndex, timestamp } = position;
  return { ok: true, name, server, version, bytes, savedAt, mergedIndex, timestamp, confirmed };
}
