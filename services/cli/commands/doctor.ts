/**
 * `craft doctor`: what is wrong with the configuration, NATS, Postgres, the disk and the servers.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { CODES, examine } from '../doctor/examine.js';
import { exitCodeOf, lookedAt, reportJson, reportText } from '../doctor/report.js';
import { statusOf } from '../doctor/servers.js';
import { examples, print } from '../kit.js';
import { withProgress } from '../progress.js';
import type { GlobalOptions } from '../session.js';

/** All is printed by then (milliseconds). */
const END_MS = 250;

interface DoctorOptions {
  readonly json: boolean;
  readonly database?: string;
  readonly dataDir?: string;
  readonly accept?: readonly string[];
}

/** @throws InvalidArgumentError for a code of no finding. */
export function acceptedCodes(text: string): string[] {
  const codes = text.split(',').map((code) => code.trim());
  const unknown = codes.filter((code) => !CODES.includes(code));
  if (unknown.length === 0) return codes;
  throw new InvalidArgumentError(
    `no findings: ${unknown.join(', ')}; the codes are in deploy/README.md, "craft doctor"`,
  );
}

export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('look for what is wrong: settings, NATS, streams, clocks, Postgres, disk, servers')
    .option('--json', 'as JSON', false)
    .addOption(
      new Option('--database <url>', 'database of the server of this machine, to check it as well').env(
        'CRAFT_DATABASE_URL',
      ),
    )
    .addOption(
      new Option('--data-dir <folder>', 'data folder of that server, to check its disk as well').env('CRAFT_DATA_DIR'),
    )
    .option('--accept <codes>', 'findings that do not count, separated by commas', acceptedCodes)
    .addHelpText(
      'after',
      `
Prints a line for each finding: what is wrong, where, and what to do. It
changes nothing, and ends within ten seconds.

Exit code: 0 nothing found; 1 warnings; 2 errors, or wrong usage. Notes say what
was not looked at, and do not count. Neither does what --accept names: it is
still shown, as accepted.
${examples('craft doctor', 'craft doctor --database postgres://craft_s1@db/craft_s1 --data-dir /data', 'craft doctor --accept nats-plain,database-plain')}`,
    )
    .action(async ({ json, database, dataDir, accept }: DoctorOptions) => {
      const { collect } = await import('../doctor/collect/collect.js');
      const looks = { options: program.opts<GlobalOptions>(), environment: process.env, database, dataDir };
      const facts = await withProgress('looking around', () => collect(looks));
      const findings = examine(facts, accept);
      const status = statusOf(facts);
      print((json ? reportJson : reportText)(findings, status, lookedAt(facts)));
      const exitCode = exitCodeOf(findings);
      process.exitCode = exitCode;
      // A connection that hangs would keep this process for as long.
      setTimeout(() => process.exit(exitCode), END_MS).unref();
    });
}
