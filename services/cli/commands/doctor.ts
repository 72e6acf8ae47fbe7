/** `craft doctor`: what is wrong with the configuration, NATS, Postgres, the disk and the servers. */
import { type Command, Option } from 'commander';
import { collect } from '../doctor/collect/collect.js';
import { examine } from '../doctor/examine.js';
import { exitCodeOf, reportJson, reportText } from '../doctor/report.js';
import { statusOf } from '../doctor/servers.js';
import { examples, type GlobalOptions, print } from '../kit.js';
import { withProgress } from '../progress.js';

/** All is printed by then (milliseconds). */
const END_MS = 250;

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('look for what is wrong: settings, NATS, streams, clocks, Postgres, disk, servers')
    .option('--json', 'as JSON', false)
    .addOption(
      new Option('--database <url>', 'of the server of this machine: looks at it, too').env('CRAFT_DATABASE_URL'),
    )
    .addOption(new Option('--data-dir <folder>', 'of that server: looks at its disk, too').env('CRAFT_DATA_DIR'))
    .addHelpText(
      'after',
      `
Prints a line for each finding: what is wrong, where, and what to do. It
changes nothing, and ends within ten seconds.

Exit code: 0 nothing found; 1 warnings; 2 errors, or wrong usage. Notes say what
was not looked at, and do not count.
${examples('craft doctor', 'craft doctor --database postgres://craft_s1@db/craft_s1 --data-dir /data')}`,
    )
    .action(async ({ json, database, dataDir }: { json: boolean; database?: string; dataDir?: string }) => {
      const looks = { options: program.opts<GlobalOptions>(), environment: process.env, database, dataDir };
      const facts = await withProgress('looking around', () => collect(looks));
      const findings = examine(facts);
      const status = statusOf(facts);
      print(json ? reportJson(findings, status) : reportText(findings, status));
      const exitCode = exitCodeOf(findings);
      process.exitCode = exitCode;
      // A connection that hangs would keep this process for as long.
      setTimeout(() => process.exit(exitCode), END_MS).unref();
    });
}
