/**
 * `craft recover`: a quorum is lost for good (T11). Writes into the log store of one survivor, whose services are stopped, who is left. What was
 * committed and only the lost servers had is gone; so this is the last way out, as peers.json is for hashicorp/raft.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CraftError } from '../../shared/client/index.js';
import { LevelLogStore } from '../../shared/log-store/level.js';
import type { LoadedState } from '../../shared/log-store/port.js';
import { recoveredConfiguration } from '../../shared/raft/entry.js';

export interface RecoverOptions {
  readonly dataDir: string;
  readonly cluster: string;
  readonly server: string;
  readonly groups: number;
  readonly survivors: readonly string[];
  /** Must be the name of the cluster; without it nothing is changed. */
  readonly confirm: string | undefined;
}

/** Prints, for each group, where this server's log ends and who its members were; with `confirm` writes who they are now. */
export async function recover(options: RecoverOptions, print: (line: string) => void): Promise<void> {
  const { dataDir, cluster, server, groups, survivors, confirm } = options;
  if (!survivors.includes(server)) {
    throw new CraftError('INVALID_ARGUMENT', `${server} is not among the survivors ${survivors.join(', ')}`);
  }
  if (confirm !== undefined && confirm !== cluster) {
    throw new CraftError('INVALID_ARGUMENT', `--confirm ${confirm}: the cluster is called ${cluster}`);
  }
  const folder = join(dataDir, 'log');
  // Opening would make a new store there.
  if (!(await stat(folder).catch(() => null))?.isDirectory()) {
    throw new CraftError('INVALID_ARGUMENT', `there is no log store in ${folder}`);
  }
  const store = await LevelLogStore.open({ folder, cluster, server, groups });
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

function describe(group: number, { groups }: LoadedState): string {
  const found = groups.get(group);
  if (found === undefined) return `group ${group}: nothing stored`;
  const { lastIndex, hardState, configurations } = found;
  const members = configurations[configurations.length - 1];
  const before = members === undefined ? 'as the cluster began' : members.voters.join(', ');
  return `group ${group}: log up to ${lastIndex}, committed at least up to ${hardState.commitIndex}, term ${hardState.term}, voters ${before}`;
}
