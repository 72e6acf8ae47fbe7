/** Why a folder cannot be opened as the log store of this server. Each names the folder and the way out. */

/** Another process, or another store of this one, has the folder open. */
export class LogStoreLockedError extends Error {
  readonly code = 'LOG_STORE_LOCKED';
  constructor(
    readonly folder: string,
    options?: { cause?: unknown },
  ) {
    super(`the log store in ${folder} is open in another process; stop that one or use another folder`, options);
    this.name = 'LogStoreLockedError';
  }
}

/** Whose log a folder holds. The number of groups is fixed for the life of a cluster. */
export interface LogStoreIdentity {
  readonly cluster: string;
  readonly server: string;
  readonly groups: number;
}

/** The folder belongs to another cluster, server or number of groups. */
export class LogStoreIdentityError extends Error {
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
    this.name = 'LogStoreIdentityError';
  }
}

/** The folder was written in a format that this version does not know. */
export class LogStoreFormatError extends Error {
  readonly code = 'LOG_STORE_FORMAT';
  constructor(
    readonly folder: string,
    readonly found: number,
    readonly known: number,
  ) {
    super(`the log store in ${folder} has format ${found}; this version reads format ${known}`);
    this.name = 'LogStoreFormatError';
  }
}

function describeIdentity({ cluster, server, groups }: LogStoreIdentity): string {
  return `cluster ${cluster}, server ${server} with ${groups} groups`;
}
