/** `craft status`, `log`, `verify`, `rebuild`: the cluster as a whole. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { CraftError } from '../../../shared/client/errors.js';
import type { ServerHealth } from '../../../shared/client/index.js';
import { messageOf } from '../../../shared/errors.js';
import { assess, type Health, LEVELS, type StatusLine, unreachable } from '../health.js';
import { examples, integer, print, waitOption, withSession } from '../kit.js';
import { withProgress } from '../progress.js';
import { statusJson, statusTable } from '../status.js';

/** Between two looks of `craft status --watch` (milliseconds). */
const WATCH_MS = 2_000;
const CLEAR_SCREEN = '\u001b[2J\u001b[H';
/** Every server reads all its rows (milliseconds). */
const VERIFY_MS = 600_000;
/**
 * A server says after two minutes that there is no snapshot; to install a large one takes longer
 * (milliseconds).
 */
const REBUILD_MS = 600_000;

export function addCluster(program: Command): void {
  program
    .command('status')
    .description('show whether the cluster is healthy, what is wrong, and how far each server is')
    .option('--json', 'as JSON')
    .option('--watch [seconds]', 'repeat until Ctrl-C; default: every 2 seconds', integer(1))
    .addHelpText(
      'after',
      '\nExit code: 0 healthy; 1 degraded: something is wrong, but all is served;\n2 not serving, or wrong usage.',
    )
    .action(async ({ json: asJson = false, watch }: { json?: boolean; watch?: number | true }) => {
      const show = (servers: readonly StatusLine[], health: Health, healths: readonly ServerHealth[]): void => {
        if (watch !== undefined && process.stdout.isTTY) process.stdout.write(CLEAR_SCREEN);
        print(asJson ? statusJson(servers, health, healths) : statusTable(servers, health));
        process.exitCode = LEVELS[health.level];
      };
      try {
        const { look, lookTwice } = await import('../looks.js');
        await withSession(program, async (session) => {
          let before: readonly ServerHealth[] | undefined;
          for (;;) {
            const seen = before === undefined ? await lookTwice(session) : { ...(await look(session)), before };
            show(seen.servers, assess(seen.servers, seen.healths, seen.before), seen.healths);
            before = seen.healths;
            if (watch === undefined) return;
            await delay(watch === true ? WATCH_MS : watch * 1_000);
          }
        });
      } catch (error) {
        show([], unreachable(messageOf(error)), []);
      }
    });

  program
    .command('log')
    .description('print the merged log with outcomes, one line of JSON for each entry')
    .option('--server <name>', 'read the copy of this server; default: the first one that answers')
    .option('--from <n>', 'the first merged index', integer(1), 1)
    .option('--follow', 'keep printing new entries')
    .addHelpText('after', examples('craft log --from 1000 | head', 'craft log --server s2 --follow'))
    .action((options: { server?: string; from: number; follow?: boolean }) =>
      withSession(program, async ({ connection, client, subjects }) => {
        const server = options.server ?? (await client.status())[0]?.server;
        if (server === undefined) throw new CraftError('UNAVAILABLE', 'no server answers');
        const [{ printLog }, { Outcomes }] = await Promise.all([import('../log.js'), import('../outcomes.js')]);
        const log = { stream: subjects.logStream(server), subject: subjects.logSubject(server) };
        const note = (why: string): void => void process.stderr.write(`${why}\n`);
        const outcomes = new Outcomes(connection, subjects.admin('outcomes', server), note);
        await printLog(connection, log, { from: options.from, follow: options.follow === true }, outcomes, print, note);
      }),
    );

  program
    .command('verify')
    .description('compare the rows of all servers; prints one line of JSON for each server')
    .addOption(waitOption('for all of it', VERIFY_MS))
    .action((options: { wait: number }) =>
      withSession(program, async (session) => {
        const { verify } = await import('../verify.js');
        await withProgress('comparing all rows', () => verify(session, options.wait, print));
      }),
    );
  program
    .command('rebuild')
    .description('rebuild the state of a server that differs, from a snapshot that a majority has confirmed')
    .argument('<server>')
    .addOption(waitOption('for all of it', REBUILD_MS))
    .action((server: string, options: { wait: number }) =>
      withSession(program, async (session) => {
        const { rebuild } = await import('../rebuild.js');
        await withProgress(`rebuilding ${server}`, () => rebuild(session, server, options.wait, print));
      }),
    );
}
