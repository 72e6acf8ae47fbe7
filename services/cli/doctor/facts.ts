/**
 * What `craft doctor` looks at. Facts come from `collect/`; what they mean is said by the checks
 * alone.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import type { Nondeterminism } from '../../../shared/postgres/determinism.js';
import type { SnapshotInfo } from '../../../shared/snapshot/bucket.js';
import type { Look } from '../looks.js';

/** Known; or not, and why. */
export type Fact<T> =
  | { readonly is: 'known'; readonly value: T }
  /** It should be there, and cannot be had. */
  | { readonly is: 'failed'; readonly why: string; readonly remedy: string }
  /** No address or folder was given. */
  | { readonly is: 'not given'; readonly why: string; readonly remedy: string }
  /** What it depends on is not known. */
  | { readonly is: 'skipped' };

export const SKIPPED = { is: 'skipped' } as const;

export function factOf<T>(fact: Fact<T>): T | undefined {
  return fact.is === 'known' ? fact.value : undefined;
}

export interface Facts {
  /** Name of the cluster. */
  readonly cluster: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly unreadableFiles: readonly UnreadableFile[];
  readonly here: { readonly version: string; readonly node: string };
  readonly nats: Fact<NatsFacts>;
  readonly account: Fact<AccountFacts>;
  readonly rights: Fact<readonly RefusedRight[]>;
  readonly streams: Fact<StreamsFacts>;
  /** In order of their merged index. */
  readonly snapshots: Fact<SnapshotsFacts>;
  readonly servers: Fact<Look>;
  readonly clocks: Fact<readonly ClockFacts[]>;
  readonly database: Fact<DatabaseFacts>;
  readonly disk: Fact<DiskFacts>;
}

/** A file that a setting names. */
export interface UnreadableFile {
  readonly variable: string;
  readonly path: string;
  readonly why: string;
}

export interface NatsFacts {
  /** Of the server that answers, without credentials. */
  readonly address: string;
  readonly version: string;
  /** Whether this NATS server has JetStream. Others may have it when it has none. */
  readonly hasJetStream: boolean;
  readonly payloadBytesMax: number;
  readonly isTls: boolean;
  readonly isLocal: boolean;
  /** How many NATS servers there are, at most. */
  readonly nodesMax: number;
}

export interface AccountFacts {
  /** Whether JetStream serves this account. */
  readonly isEnabled: boolean;
  /** What there is of each kind, and how much there may be; absent where nothing limits it. */
  readonly uses: readonly {
    readonly what: 'storage' | 'memory' | 'streams';
    readonly used: number;
    readonly max: number;
  }[];
}

/** Something that NATS has refused to this user. */
export interface RefusedRight {
  readonly verb: 'send to' | 'hear';
  readonly subject: string;
  /** What needs it. */
  readonly needs: string;
}

export interface StreamsFacts {
  readonly streams: readonly StreamFacts[];
  /** There are more, which have not been looked at. */
  readonly isCut: boolean;
}

export type StreamFacts = Pick<StreamInfo, 'config' | 'cluster'>;

export interface SnapshotsFacts {
  readonly snapshots: readonly Pick<SnapshotInfo, 'name' | 'position' | 'bytes' | 'savedAt' | 'confirmed'>[];
  /** By the clock of this machine (milliseconds since the Unix epoch). */
  readonly nowMs: number;
}

export interface ClockFacts {
  readonly server: string;
  /** Its clock minus that of this machine (microseconds), give or take half of the round trip. */
  readonly offsetUs: number;
  readonly roundTripUs: number;
}

export interface DatabaseFacts {
  /** Host, port and database, without credentials. */
  readonly place: string;
  /** Of this connection, as this side sees it: a pooler may have another way to Postgres. */
  readonly isTls: boolean;
  readonly isLocal: boolean;
  /** As Postgres counts: 160004 is 16.4. */
  readonly versionNumber: number;
  readonly version: string;
  readonly role: string;
  /** As they stand in statements. */
  readonly quoted: { readonly role: string; readonly database: string };
  readonly isSuperuser: boolean;
  readonly missingRights: Fact<readonly MissingRight[]>;
  readonly encoding: string;
  readonly isReadOnly: boolean;
  readonly isStandby: boolean;
  readonly settings: readonly DatabaseSetting[];
  readonly connections: Fact<ConnectionsFacts>;
  /** Undefined before an applier has opened the database. */
  readonly state: Fact<StateFacts | undefined>;
}

export interface MissingRight {
  readonly right: string;
  readonly grant: string;
}

export interface DatabaseSetting {
  readonly name: string;
  readonly value: string;
  /**
   * Where the value comes from: `default`, `configuration file`, `database`, `user`,
   * `database user` and others.
   */
  readonly source: string;
}

export interface ConnectionsFacts {
  /** Of all that limit this role: server, database and role. */
  readonly limits: readonly { readonly what: string; readonly max: number; readonly used: number }[];
  /** An applier has its connections already. */
  readonly hasApplier: boolean;
}

export interface StateFacts {
  readonly cluster: string | undefined;
  readonly server: string;
  readonly machine: string | undefined;
  /**
   * The engine's migrations that have not run, by their tags; how many have run that this release
   * does not have.
   */
  readonly missingMigrations: readonly string[];
  readonly unknownMigrations: number;
  /** Why those that ran do not fit to those of this release. */
  readonly migrationProblem: string | undefined;
  readonly nondeterminism: readonly Nondeterminism[];
  /** On the table of the built-in machine, which has none of its own. */
  readonly triggers: readonly string[];
}

export interface DiskFacts {
  /** What was looked at: the folder, or the nearest one above it that exists. */
  readonly path: string;
  /** By its magic number: `ext4`, `tmpfs`, `nfs`; undefined for others. */
  readonly fileSystem?: string | undefined;
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** How long small durable writes took (milliseconds), shortest first; or why there were none. */
  readonly writes: { readonly syncMs: readonly number[] } | { readonly why: string };
}
