/** `craft snapshot`. */
import type { Command } from 'commander';
import { examples, jsonOption, listing, print, waitOption, withSession } from '../kit.js';
import { withProgress } from '../progress.js';
import { snapshotsTable } from '../table.js';

/** A large state takes a while to be read and written (milliseconds). */
const STATE_MS = 600_000;

export function addSnapshots(program: Command): void {
  const snapshot = program
    .command('snapshot')
    .description('list, take, save and restore snapshots of the state')
    .addHelpText('after', examples('craft snapshot save backup', 'craft snapshot restore backup'));
  snapshot
    .command('list')
    .description('list the snapshots, oldest first')
    .addOption(jsonOption())
    .action(
      listing(program, snapshotsTable, async (session, show) =>
        (await import('../snapshots.js')).listSnapshots(session, show),
      ),
    );
  snapshot
    .command('take')
    .description('take a snapshot now, and print it')
    .addOption(waitOption('for the snapshot', STATE_MS))
    .action(({ wait }: { wait: number }) =>
      withSession(program, async (session) => {
        const { takeSnapshot } = await import('../snapshots.js');
        const taking = () => takeSnapshot(session, wait, print);
        await withProgress('taking a snapshot', taking);
      }),
    );
  snapshot
    .command('save')
    .description('take a snapshot and write it to a file, for `restore`')
    .argument('<file>')
    .addOption(waitOption('for the snapshot', STATE_MS))
    .action((file: string, { wait }: { wait: number }) =>
      withSession(program, async (session) => {
        const { saveSnapshot } = await import('../snapshots.js');
        const saving = () => saveSnapshot(session, file, wait, print);
        await withProgress(`saving ${file}`, saving);
      }),
    );
  snapshot
    .command('restore')
    .description('replace the state of every server by that of a backup file')
    .argument('<file>')
    .option('--replace', 'overwrite the existing state (it will be lost)', false)
    .addOption(waitOption('for all of it', STATE_MS))
    .action((file: string, { replace, wait }: { replace: boolean; wait: number }) =>
      withSession(program, async (session) => {
        const { restoreSnapshot } = await import('../snapshots.js');
        const restoring = () => restoreSnapshot(session, file, { replace, timeoutMs: wait }, print);
        await withProgress(`restoring ${file}`, restoring);
      }),
    );
}
