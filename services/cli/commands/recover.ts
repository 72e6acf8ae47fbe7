/** `craft recover`. */
import { type Command, Option } from 'commander';
import { LOG_STORE_SYNCS, LOG_STORES, type LogStoreKind, type LogStoreSync } from '../../../shared/config/config.js';
import { INBOX_PREFIX_DEFAULT } from '../../../shared/wire/inbox-prefix.js';
import { integer, print } from '../kit.js';
import type { GlobalOptions } from '../session.js';

/**
 * Says where the log store is in the words of the replica's configuration, and takes that for a
 * default.
 */
export function addRecover(program: Command): void {
  program
    .command('recover')
    .description(
      'after a quorum is lost for good: write the survivors into the log of a stopped server (deploy/README.md, "A quorum is lost for good")',
    )
    .requiredOption('--server <name>', 'this survivor')
    .requiredOption('--survivors <names>', 'all survivors, separated by commas')
    .addOption(
      new Option('--log-store <kind>', 'of this survivor')
        .choices(LOG_STORES)
        .env('CRAFT_LOG_STORE')
        .default('segments'),
    )
    .addOption(new Option('--data-dir <folder>', 'of this survivor').env('CRAFT_DATA_DIR').default('.craft'))
    .addOption(
      new Option('--log-store-sync <how>', 'as CRAFT_LOG_STORE_SYNC')
        .choices(LOG_STORE_SYNCS)
        .env('CRAFT_LOG_STORE_SYNC')
        .default('verify'),
    )
    .addOption(
      new Option('--nats-monitor <urls>', 'as CRAFT_NATS_MONITOR_URL').env('CRAFT_NATS_MONITOR_URL').default(''),
    )
    .option('--groups <n>', 'number of groups', integer(1), 3)
    .option('--confirm <cluster>', 'the name of the cluster; without it, nothing is changed')
    .action(async (options: RecoverArguments) => {
      const [{ recover }, { accessOf }] = await Promise.all([import('../recover.js'), import('../session.js')]);
      const { cluster, nats, inboxPrefix = INBOX_PREFIX_DEFAULT } = program.opts<GlobalOptions>();
      const { server, groups, dataDir, logStore, logStoreSync, confirm } = options;
      const list = (text: string) =>
        text
          .split(',')
          .map((part) => part.trim())
          .filter((part) => part !== '');
      const store = {
        ...{ cluster, server, groups, dataDir, logStore, logStoreSync },
        ...{
          natsUrl: nats,
          natsOrder: 'random' as const,
          natsInboxPrefix: inboxPrefix,
          ...accessOf(program.opts<GlobalOptions>()),
          natsMonitorUrls: list(options.natsMonitor),
        },
      };
      await recover({ store, survivors: list(options.survivors), confirm }, print);
    });
}

interface RecoverArguments {
  readonly server: string;
  readonly survivors: string;
  readonly logStore: LogStoreKind;
  readonly dataDir: string;
  readonly logStoreSync: LogStoreSync;
  readonly natsMonitor: string;
  readonly groups: number;
  readonly confirm?: string;
}
