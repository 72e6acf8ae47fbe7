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
    .description('snapshots of the state, in the object store of the cluster')
    .addHelpText('after', examples('craft snapshot save backup', 'craft snapshot restore backup'));
  snapshot
    .command('list')
    .description('what there is, oldest first')
    .addOption(jsonOption())
    .action(
      listing(program, snapshotsTable, async (session, show) =>
        (await import('../snapshots.js')).listSnapshots(session, show),
      ),
    );
  snapshot
    .command('take')
    .description('take one now; prints what it is')
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
    .description('take one and write it to a file, for `restore`')
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
    .description('make the state of a file that of this cluster, at every server')
    .argument('<file>')
    .option('--replace', 'although there is a state, which is lost', false)
    .addOption(waitOption('for all of it', STATE_MS))
    .action((file: string, { replace, wait }: { replace: boolean; wait: number }) =>
      withSession(program, async (session) => {
        const { restoreSnapshot } = await import('../snapshots.js');
        const restoring = () => restoreSnapshot(session, file, { replace, timeoutMs: wait }, print);
        await withProgress(`restoring ${file}`, restoring);
      }),
    );
}
