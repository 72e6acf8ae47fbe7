/**
 * Whether this server's state goes on: what it says of that on `<c>.admin.applied` and
 * `<c>.admin.applied.<server>` (JSON), and the conditions of the applier that are made of it.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import { VERSION } from '../../shared/config/version.js';
import type { LoadedMachine } from '../../shared/engine/loading.js';
import type { EnginePosition, StorageEngine, TableChecksum } from '../../shared/engine/port.js';
import { rowsChecksumOf } from '../../shared/engine/rows-checksum.js';
import { messageOf } from '../../shared/errors.js';
import { Lasting, type ServiceHealth, TROUBLE_MS, type Trouble } from '../../shared/health/health.js';
import type { MergedIndex } from '../../shared/raft/entry.js';
import type { ReplyGuard } from '../../shared/wire/reply-guard.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import type { ApplierCore } from './core/applier.js';
import { MissingEntriesError } from './core/reading.js';
import { databaseRemedy, databaseWhy } from './remedies.js';
import { StreamUnreadableError } from './stream.js';

/** What keeps the state from going on, and since when. */
interface Standstill {
  readonly since: string;
  /** The same (milliseconds, monotonic). */
  readonly sinceMs: number;
  readonly error: string;
}

/** It begins now, unless it has lasted already. */
function beginning(before?: Standstill | null): Pick<Standstill, 'since' | 'sinceMs'> {
  if (before) return { since: before.since, sinceMs: before.sinceMs };
  return { since: new Date().toISOString(), sinceMs: performance.now() };
}

/** What the engine is asked to do at the moment. */
export interface WorkUnderWay {
  readonly what: string;
  /** Monotonic (milliseconds). */
  readonly sinceMs: number;
  /** It may take long, and says nothing while it does. */
  readonly mayLast: boolean;
}

export interface ApplierHealthOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly replies: ReplyGuard;
  readonly server: string;
  readonly loaded: LoadedMachine;
  readonly engine: Pick<StorageEngine, 'machine' | 'heldBy'>;
  readonly core: Pick<ApplierCore, 'appliedIndex' | 'refusal' | 'divergence' | 'verifyingAt'>;
  readonly health: ServiceHealth<'applier'>;
  /** Of the engine, and of the newest look at the database. */
  readonly underWay: () => { readonly engine: WorkUnderWay | undefined; readonly lookSinceMs: number | undefined };
  /** The largest merged index that is known to be in the log. */
  readonly end: () => MergedIndex;
}

/** Between two questions what a batch waits for (milliseconds). */
const ASK_MS = 2_000;

/** What the rows were at a `craft.verify`. */
interface Verified {
  readonly mergedIndex: MergedIndex;
  /** Over the rows, and over the outcomes of all commands up to there. */
  readonly checksum: string;
  readonly resultsChecksum: string;
  readonly tables: readonly TableChecksum[];
}

export class ApplierHealth {
  private trouble: (Standstill & { readonly cause: unknown }) | null = null;
  /** Nothing may be read from this state. */
  private refusal: Standstill | null = null;
  /** For a version of the state machine that is not loaded. */
  private waiting: Standstill | null = null;
  /** What the batch under way waits for in the database, as it was found last. */
  private heldBy: { readonly pid: number; readonly what: string } | undefined;
  private askedAtMs = Number.NEGATIVE_INFINITY;
  private verified: Verified | undefined;

  constructor(private readonly options: ApplierHealthOptions) {}

  /** Answers until the connection is closed. */
  start(): void {
    const { connection, subjects, replies, server } = this.options;
    this.watch();
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
    const text = messageOf(error);
    this.trouble = { ...beginning(this.trouble), error: text, cause: error };
  }

  recovered(): void {
    this.trouble = null;
  }

  onVerified({ mergedIndex, resultsChecksum }: EnginePosition, tables: readonly TableChecksum[]): void {
    this.verified = { mergedIndex, checksum: rowsChecksumOf(tables), resultsChecksum, tables };
  }

  /** Why nothing may be read from this state; undefined: it may again. */
  refused(reason: string | undefined): void {
    this.refusal = reason === undefined ? null : { ...beginning(), error: reason };
  }

  /**
   * Why nothing is applied until this server is started with another module; undefined: it goes on.
   */
  waits(reason: string | undefined): void {
    this.waiting = reason === undefined ? null : { ...beginning(this.waiting), error: reason };
  }

  status(): object {
    const { server, subjects, core, engine, loaded } = this.options;
    const versions = loaded.versions.map(({ version, fingerprint }) => ({ version, fingerprint }));
    const trouble = this.refusal ?? this.waiting ?? this.trouble;
    const { since, error } = trouble ?? {};
    return {
      server,
      cluster: subjects.cluster,
      version: VERSION,
      appliedIndex: core.appliedIndex,
      ok: trouble === null,
      since,
      error,
      trusted: this.refusal === null,
      divergence: core.divergence,
      machine: { ...engine.machine, loaded: versions },
      verifying: core.verifyingAt,
      verified: this.verified,
    };
  }

  private watch(): void {
    const { health, core, server, end } = this.options;
    // What may last has no place to move from: a snapshot that is installed, a migration.
    health.watchPosition(() => (this.options.underWay().engine?.mayLast === true ? undefined : core.appliedIndex));
    health.watch('database', () => {
      const { trouble } = this;
      if (trouble !== null && isOfDatabase(trouble.cause)) {
        return troubleOf(trouble, databaseWhy(trouble.cause), databaseRemedy(trouble.cause, server));
      }
      const { lookSinceMs } = this.options.underWay();
      const forMs = lookSinceMs === undefined ? 0 : performance.now() - lookSinceMs;
      return forMs < TROUBLE_MS ? undefined : { why: 'the database does not answer', forMs };
    });
    health.watch('gap', () => {
      const { trouble } = this;
      return trouble?.cause instanceof MissingEntriesError ? troubleOf(trouble, trouble.error) : undefined;
    });
    health.watch('machine', () => {
      const { waiting } = this;
      return waiting === null ? undefined : troubleOf(waiting, waiting.error);
    });
    health.watch('differs', () => {
      const { refusal } = this;
      if (refusal === null) return undefined;
      const rebuild = core.divergence === undefined ? '' : `; then run: craft rebuild ${server}`;
      return troubleOf(refusal, refusal.error, `find out how they differ: craft verify${rebuild}`);
    });
    health.watch('batch', () => this.slowBatch());
    const behind = new Lasting<MergedIndex>(TROUBLE_MS);
    health.watch('behind', () => {
      const { appliedIndex } = core;
      const { engine } = this.options.underWay();
      const isTold = this.trouble !== null || this.waiting !== null || engine !== undefined;
      const { lasting, forMs } = behind.see(!isTold && end() > appliedIndex ? [appliedIndex] : []);
      if (lasting.length === 0) return undefined;
      return { why: `the database stands still at merged index ${appliedIndex}, and the log reaches ${end()}`, forMs };
    });
  }

  private slowBatch(): Trouble | undefined {
    const { engine } = this.options.underWay();
    const now = performance.now();
    const forMs = engine === undefined || engine.mayLast ? 0 : now - engine.sinceMs;
    if (engine === undefined || forMs < TROUBLE_MS) {
      this.heldBy = undefined;
      return undefined;
    }
    if (now - this.askedAtMs >= ASK_MS) {
      this.askedAtMs = now;
      this.options.engine.heldBy?.().then(
        (found) => {
          this.heldBy = found;
        },
        () => undefined,
      );
    }
    const { heldBy } = this;
    const why = `${engine.what} has been under way for ${Math.round(forMs / 1_000)} s`;
    if (heldBy === undefined) return { why, forMs };
    const remedy = `end that transaction: select pg_terminate_backend(${heldBy.pid})`;
    return { why: `${why}: it waits for ${heldBy.what}`, remedy, forMs };
  }
}

function isOfDatabase(error: unknown): boolean {
  return !(error instanceof MissingEntriesError) && !(error instanceof StreamUnreadableError);
}

function troubleOf({ sinceMs }: Standstill, why: string, remedy?: string): Trouble {
  return { why, remedy, forMs: performance.now() - sinceMs };
}
