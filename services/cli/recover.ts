/**
 * `craft recover`: a quorum is lost for good (T11). Writes into the log store of one survivor,
 * whose services are stopped, which servers are left. What was committed and only the lost servers
 * had is gone; so this is the last way out, as peers.json is for hashicorp/raft.
 */
import { CraftError } from '../../shared/client/index.js';
import { isInFolder, isInJetStream, type LogStoreConfig, openLogStore, placeOf } from '../../shared/log-store/open.js';
import type { LoadedState } from '../../shared/log-store/port.js';
import { recoveredConfiguration } from '../../shared/raft/entry.js';
import { connectNats } from '../../shared/wire/connection.js';

export interface RecoverOptions {
  /** Where the log store of this survivor is, as its replica was told. */
  readonly store: LogStoreConfig;
  readonly survivors: readonly string[];
  /** Must be the name of the cluster; without it nothing is changed. */
  readonly confirm: string | undefined;
}

/**
 * Prints, for each group, where this server's log ends and which members it had; with `confirm`
 * writes which it has now.
 */
export async function recover(options: RecoverOptions, print: (line: string) => void): Promise<void> {
  const { store: config, survivors, confirm } = options;
  const { cluster, server, groups } = config;
  if (!survivors.includes(server)) {
    throw new CraftError('INVALID_ARGUMENT', `${server} is not among the survivors ${survivors.join(', ')}`);
  }
  if (confirm !== undefined && confirm !== cluster) {
    throw new CraftError('INVALID_ARGUMENT', `--confirm ${confirm}: the cluster is called ${cluster}`);
  }
  // Opening would make a new store there.
  if (!(await exists(config))) throw new CraftError('INVALID_ARGUMENT', `there is no log store in ${placeOf(config)}`);
  const store = await openLogStore(config);
  try {
    const loaded = await store.load();
    for (let group = 0; group < groups; group++) print(describe(group, loaded));
    if (confirm === undefined) {
      print(`nothing is changed. To go on with ${survivors.join(', ')} alone, repeat with --confirm ${cluster}`);
      return;
    }
    const configurations = [recoveredConfiguration(survivors)];
    await store.write({ groups: Array.from({ length: groups }, (_, group) => ({ group, configurations })) });
    print(
      `the members of every group are now ${survivors.join(', ')}; do the same on each of them before any is started`,
    );
  } finally {
    await store.close();
  }
}

async function exists(config: LogStoreConfig): Promise<boolean> {
  if (config.logStore !== 'jetstream') return isInFolder(config);
  const connection = await connectNats(config, 'craft cli');
  try {
    return await isInJetStream(config, connection);
  } finally {
    await connection.close();
  }
}

function describe(group: number, { groups }: LoadedState): string {
  const found = groups.get(group);
  if (found === undefined) return `group ${group}: nothing stored`;
  const { lastIndex, hardState, configurations } = found;
  const members = configurations[configurations.length - 1];
  const before = members === undefined ? 'as the cluster began' : members.voters.join(', ');
  return `group ${group}: log up to ${lastIndex}, committed at least up to ${hardState.commitIndex}, term ${hardState.term}, voters ${before}`;
}
