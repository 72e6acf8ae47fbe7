/** `craft snapshot`. */
import type { Command } from 'commander';
import { examples, type GlobalOptions, jsonOption, listing, print, waitOption, withSession } from '../kit.js';
import { withProgress } from '../progress.js';
import { listSnapshots, restoreSnapshot, saveSnapshot, takeSnapshot } from '../snapshots.js';
import { snapshotsTable } from '../table.js';

/** A large state takes a while to be read and written everywhere (milliseconds). */
const RESTORE_MS = 600_000;

export function addSnapshots(program: Command): void {
  const snapshot = program
    .command('snapshot')
    .description('snapshots of the state, in the object store of the cluster')
    .addHelpText('after', examples('craft snapshot save backup', 'craft snapshot restore backup'));
  snapshot
    .command('list')
    .description('what there is, oldest first')
    .addOption(jsonOption())
    .action(listing(program, snapshotsTable, listSnapshots));
  snapshot
    .command('take')
    .description('take one now; prints what it is')
    .action(() =>
      withSession(program, async (session) =>
        withProgress('taking a snapshot', () => takeSnapshot(session, program.opts<GlobalOptions>().timeout, print)),
      ),
    );
  snapshot
    .command('save')
    .description('take one and write it to a file, for `restore`')
    .argument('<file>')
    .action((file: string) =>
      withSession(program, async (session) =>
        withProgress(`saving ${file}`, () => saveSnapshot(session, file, program.opts<GlobalOptions>().timeout, print)),
      ),
    );
  snapshot
    .command('restore')
    .description('make the state of a file that of this cluster, at every server')
    .argument('<file>')
    .option('--replace', 'although there is a state, which is lost', false)
    .addOption(waitOption('for all of it', RESTORE_MS))
    .action((file: string, { replace, wait }: { replace: boolean; wait: number }) =>
      withSession(program, (session) =>
        withProgress(`restoring ${file}`, () => restoreSnapshot(session, file, { replace, timeoutMs: wait }, print)),
      ),
    );
}
