/** Whether this server's state goes on, and what it says of that on `<c>.admin.applied` and `<c>.admin.applied.<server>`. JSON. */
import type { NatsConnection } from '@nats-io/nats-core';
import { VERSION } from '../../shared/config/version.js';
import type { LoadedMachine } from '../../shared/engine/loading.js';
import type { EnginePosition, StorageEngine, TableChecksum } from '../../shared/engine/port.js';
import { rowsChecksumOf } from '../../shared/engine/rows-checksum.js';
import type { Index } from '../../shared/raft/entry.js';
import type { ReplyGuard } from '../../shared/wire/reply-guard.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import type { ApplierCore } from './core/applier.js';

/** What keeps the state from going on, and since when. */
interface Trouble {
  readonly since: string;
  readonly error: string;
}

export interface ConditionOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly replies: ReplyGuard;
  readonly server: string;
  readonly loaded: LoadedMachine;
  readonly engine: Pick<StorageEngine, 'machine'>;
  readonly core: Pick<ApplierCore, 'appliedIndex' | 'refusal' | 'divergence' | 'verifyingAt'>;
}

/** What the rows were at a `craft.verify`. */
interface Verified {
  readonly mergedIndex: Index;
  /** Over the rows, and over the outcomes of all commands up to there. */
  readonly checksum: string;
  readonly resultsChecksum: string;
  readonly tables: readonly TableChecksum[];
}

export class Condition {
  private trouble: Trouble | null = null;
  /** Nothing may be read from this state. */
  private refusal: Trouble | null = null;
  /** For a version of the state machine that is not loaded. */
  private waiting: Trouble | null = null;
  private verified: Verified | undefined;

  constructor(private readonly options: ConditionOptions) {
    const { connection, subjects, replies, server } = options;
    for (const subject of [subjects.admin('applied'), subjects.admin('applied', server)]) {
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null && message.reply && replies.allowsClient(message.reply)) {
            message.respond(JSON.stringify(this.status()));
          }
        },
      });
    }
  }

  failed(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.trouble = { since: this.trouble?.since ?? new Date().toISOString(), error: text };
  }

  recovered(): void {
    this.trouble = null;
  }

  onVerified({ mergedIndex, resultsChecksum }: EnginePosition, tables: readonly TableChecksum[]): void {
    this.verified = { mergedIndex, checksum: rowsChecksumOf(tables), resultsChecksum, tables };
  }

  /** Why nothing may be read from this state; undefined: it may again. */
  refused(reason: string | undefined): void {
    this.refusal = reason === undefined ? null : { since: new Date().toISOString(), error: reason };
  }

  /** Why nothing is applied until this server is started with another module; undefined: it goes on. */
  waits(reason: string | undefined): void {
    this.waiting =
      reason === undefined ? null : { since: this.waiting?.since ?? new Date().toISOString(), error: reason };
  }

  status(): object {
    const { server, subjects, core, engine, loaded } = this.options;
    const versions = loaded.versions.map(({ version, fingerprint }) => ({ version, fingerprint }));
    const trouble = this.refusal ?? this.waiting ?? this.trouble;
    return {
      server,
      cluster: subjects.cluster,
      version: VERSION,
      appliedIndex: core.appliedIndex,
      ok: trouble === null,
      ...trouble,
      trusted: this.refusal === null,
      divergence: core.divergence,
      machine: { ...engine.machine, loaded: versions },
      verifying: core.verifyingAt,
      verified: this.verified,
    };
  }
}
