/** `craft.v1.Configuration`, the body of a configuration entry <-> the members of a group (T11). */
import type { Configuration, LogEntry } from '../raft/entry.js';
import { entryBody } from './entry-block.js';
import './protobuf.js';
import { craft } from './generated/craft.js';
import { WireError } from './wire-error.js';

export function encodeConfiguration({ voters, learners }: Configuration): Uint8Array {
  return craft.v1.Configuration.encode({ voters: [...voters], learners: [...learners] }).finish();
}

/**
 * Throws WireError when the entry's body is no configuration, or one that nobody could ever change
 * again: without voters.
 */
export function decodeConfiguration(entry: LogEntry): Configuration {
  const { voters, learners } = decode(entry);
  if (voters.length === 0) throw new WireError('a configuration without voters');
  return { voters, learners };
}

function decode(entry: LogEntry): craft.v1.Configuration {
  try {
    return craft.v1.Configuration.decode(entryBody(entry));
  } catch (cause) {
    throw new WireError('not a configuration', { cause });
  }
}
