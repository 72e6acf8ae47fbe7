/**
 * Why a folder or stream cannot be, or stay, the log store of this server. Each names it and the
 * way out.
 */
import { NamedError } from '../errors.js';

/** Another process, or another store of this one, has the folder open. */
export class LogStoreLockedError extends NamedError {
  readonly code = 'LOG_STORE_LOCKED';
  constructor(readonly folder: string) {
    super(`the log store in ${folder} is open in another process; stop that one or use another folder`);
  }
}

/** Whose log a folder holds. The number of groups is fixed for the life of a cluster. */
export interface LogStoreIdentity {
  readonly cluster: string;
  readonly server: string;
  readonly groups: number;
}

/** The folder belongs to another cluster, server or number of groups. */
export class LogStoreIdentityError extends NamedError {
  readonly code = 'LOG_STORE_IDENTITY';
  constructor(
    readonly folder: string,
    readonly expected: LogStoreIdentity,
    readonly found: LogStoreIdentity,
  ) {
    super(
      `the log store in ${folder} belongs to ${describeIdentity(found)}, not to ${describeIdentity(expected)}; ` +
        'use the folder of this server, or an empty one',
    );
  }
}

/** The folder was written in a format that this version does not know. */
export class LogStoreFormatError extends NamedError {
  readonly code = 'LOG_STORE_FORMAT';
  constructor(
    readonly folder: string,
    readonly found: number,
    readonly known: number,
  ) {
    super(`the log store in ${folder} has format ${found}; this version reads format ${known}`);
  }
}

/** The folder holds a log in LevelDB, as versions before the first release wrote it. */
export class LogStoreLegacyError extends NamedError {
  readonly code = 'LOG_STORE_LEGACY';
  constructor(readonly folder: string) {
    super(
      `the log store in ${folder} is LevelDB's, which this version does not read. Replace this server by a new member with an ` +
        'empty folder (deploy/README.md, "Replace a server"). To change all servers at once, save the state with the version ' +
        'that wrote it (craft snapshot save). Then restore it (craft snapshot restore) into a new cluster with empty folders, ' +
        'databases and streams',
    );
  }
}

/**
 * Another process has taken over the stream of this server's log store: it opened the stream later,
 * or wrote to it.
 */
export class LogStoreFencedError extends NamedError {
  readonly code = 'LOG_STORE_FENCED';
  constructor(readonly stream: string) {
    super(`another process writes to stream ${stream}; only one may run as this server`);
  }
}

/** The NATS server may acknowledge what is not on its disk, or nobody can tell that it does not. */
export class LogStoreSyncError extends NamedError {
  readonly code = 'LOG_STORE_SYNC';
}

/** A member of the cluster has no log any more: it must not vote as if it had never done so. */
export class LogStoreGoneError extends NamedError {
  readonly code = 'LOG_STORE_GONE';
  constructor(
    readonly server: string,
    readonly place: string,
  ) {
    super(
      `server ${server} has had a log store, and ${place} is empty: what it has promised and acknowledged is gone. Give it its log back, ` +
        `or replace it: craft members remove ${server}, start it with CRAFT_JOIN=true, then craft members add ${server}`,
    );
  }
}

function describeIdentity({ cluster, server, groups }: LogStoreIdentity): string {
  return `cluster ${cluster}, server ${server} with ${groups} groups`;
}
