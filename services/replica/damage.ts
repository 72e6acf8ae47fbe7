/** A damaged log store has one way out: the message that tells the damage names it. */
import type { ReplicaConfig } from '../../shared/config/config.js';
import { NamedError } from '../../shared/errors.js';
import { LogStoreCorruptError } from '../../shared/log-store/port.js';

/** The log store of this server is damaged: the replica does not start, or ends. */
export class DamagedLogError extends NamedError {
  readonly code = 'DAMAGED_LOG';
  constructor(server: string, damage: LogStoreCorruptError) {
    super(
      `the log store of server ${server} is damaged: ${damage.message}. Nothing was skipped or changed, because it may ` +
        `hold promises of this server. Replace the server (deploy/README.md, "Replace a server"): craft members remove ${server}, ` +
        `start it with CRAFT_JOIN=true and an empty log store, craft members add ${server}`,
      { cause: damage },
    );
  }
}

/** Damage as DamagedLogError; any other error as it is. */
export function withWayOut<E>(error: E, { server }: Pick<ReplicaConfig, 'server'>): E | DamagedLogError {
  return error instanceof LogStoreCorruptError ? new DamagedLogError(server, error) : error;
}
