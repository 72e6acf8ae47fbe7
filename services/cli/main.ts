#!/usr/bin/env node
/**
 * `craft`: the command line client. Exit codes: 0 done, 1 refused or unavailable (nothing was executed), 2 wrong usage, 3 the outcome is
 * unknown (repeat with the same --id). Those of `craft status` say how healthy the cluster is.
 */
import { readFile } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { connect, credsAuthenticator, type NatsConnection } from 'nats';
import { type CraftClient, CraftError, connectCraft, OutcomeUnknownError } from '../../shared/client/index.js';
import { LOG_STORE_SYNCS, LOG_STORES, type LogStoreKind, type LogStoreSync } from '../../shared/config/config.js';
import { VERSION } from '../../shared/config/version.js';
import { natsAddress } from '../../shared/wire/connection.js';
import { Subjects } from '../../shared/wire/subjects.js';
import { commandsTable, inputSchema } from './commands.js';
import { assess, type Health, LEVELS, type StatusLine, unreachable } from './health.js';
import { mergedIndexOf, printLog } from './log.js';
import { machineStatus, switchMachine } from './machine.js';
import { MembersAdmin } from './members.js';
import { rebuild } from './rebuild.js';
import { recover } from './recover.js';
import { listSnapshots, restoreSnapshot, saveSnapshot, takeSnapshot } from './snapshots.js';
import { statusJson, statusTable } from './status.js';
import { verify } from './verify.js';

/** Between two looks of `craft status --watch` (milliseconds). */
const WATCH_MS = 2_000;
const CLEAR_SCREEN = '\u001b[2J\u001b[H';

const EXIT = { done: 0, refused: 1, usage: 2, unknown: 3 } as const;

const EXIT_CODES = `Exit codes:
  0  done
  1  refused or unavailable: nothing was executed
  2  wrong usage
  3  the outcome is unknown: repeat with the same --id
Those of craft status say how healthy the cluster is: craft status --help`;

interface GlobalOptions {
  readonly nats: string;
  readonly creds?: string;
  readonly cluster: string;
  readonly timeout: number;
}

interface Session {
  readonly connection: NatsConnection;
  readonly client: CraftClient;
  readonly subjects: Subjects;
}

/** The JSON value that an argument gives: itself, `@file`, or `-` for standard input. Ends with wrong usage when it is none. */
async function inputOf(given: string, program: Command): Promise<unknown> {
  let text = given;
  try {
    if (given === '-') text = (await buffer(process.stdin)).toString();
    else if (given.startsWith('@')) text = await readFile(given.slice(1), 'utf8');
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof SyntaxError ? `not JSON: ${error.message}` : String(error);
    return program.error(`error: the input is ${given === text ? '' : `(${given}) `}${why}`);
  }
}

function integer(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < min) {
      throw new InvalidArgumentError(`not an integer from ${min} to ${Number.MAX_SAFE_INTEGER}`);
    }
    return value;
  };
}

function examples(...lines: string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}

function waitOption(what: string, defaultMs: number): Option {
  return new Option('--wait <ms>', `${what} (milliseconds)`).argParser(integer(1)).default(defaultMs);
}

function print(value: unknown): void {
  process.stdout.write(`${typeof value === 'string' ? value : JSON.stringify(value)}\n`);
}

async function withSession(program: Command, work: (session: Session) => Promise<void>): Promise<void> {
  const options = program.opts<GlobalOptions>();
  const connection = await connect({
    ...natsAddress(options.nats),
    name: 'craft cli',
    ...(options.creds === undefined ? {} : { authenticator: credsAuthenticator(await readFile(options.creds)) }),
  });
  try {
    const client = await connectCraft({ connection, cluster: options.cluster, timeoutMs: options.timeout });
    await work({ connection, client, subjects: new Subjects(options.cluster) });
  } finally {
    await connection.close();
  }
}

async function statusLines({ connection, client, subjects }: Session): Promise<StatusLine[]> {
  return await Promise.all(
    (await client.status()).map(async (status) => {
      const [stream, subject] = [subjects.logStream(status.server), subjects.logSubject(status.server)];
      try {
        return { ...status, mergedIndex: await mergedIndexOf(connection, stream, subject) };
      } catch (error) {
        return { ...status, streamError: error instanceof Error ? error.message : String(error) };
      }
    }),
  );
}

function createProgram(): Command {
  const program = new Command('craft');
  program
    .description('A client for a craft cluster')
    .version(VERSION)
    .addOption(new Option('--nats <urls>', 'NATS servers').env('CRAFT_NATS_URL').default('nats://127.0.0.1:4222'))
    .addOption(new Option('--creds <file>', 'NATS credentials file').env('CRAFT_NATS_CREDS'))
    .addOption(new Option('--cluster <name>', 'name of the cluster').env('CRAFT_CLUSTER').default('craft'))
    .option('--timeout <ms>', 'for the whole call, retries included (milliseconds)', integer(1), 10_000)
    .addHelpText(
      'after',
      `\n${EXIT_CODES}\n${examples('craft status', 'craft cmd kv.put \'{"key":"a","value":1}\'', 'craft log --follow')}`,
    )
    .exitOverride();

  program
    .command('cmd')
    .description('run a command and print its reply')
    .argument('<name>', 'for example kv.put')
    .argument('<json>', 'the input; @FILE: of a file, -: from standard input')
    .option('--group <g>', "through this group's leader", integer(0))
    .option('--id <id>', 'idempotency id: commands of one id take effect once')
    .addOption(new Option('--ack <when>', 'when to answer').choices(['applied', 'ordered', 'committed']))
    .option('--after <timestamp>', 'be ordered after this timestamp (microseconds)', integer(1))
    .addHelpText(
      'after',
      examples(
        'craft cmd kv.put \'{"key":"a","value":{"n":1}}\' --id order-17',
        'craft cmd kv.txn @changes.json --ack committed',
      ),
    )
    .action(async (name: string, given: string, options: object) => {
      const input = await inputOf(given, program);
      await withSession(program, async ({ client }) => print(await client.command(name, input, options)));
    });

  program
    .command('query')
    .description('read, and print the result')
    .argument('<name>', 'for example kv.get')
    .argument('<json>', 'the input; @FILE: of a file, -: from standard input')
    .addOption(new Option('--consistency <which>', 'what to see').choices(['linearizable', 'local']))
    .addHelpText(
      'after',
      examples('craft query kv.get \'{"key":"a"}\'', 'craft query kv.list \'{"prefix":"order-"}\' --consistency local'),
    )
    .action(async (name: string, given: string, options: object) => {
      const input = await inputOf(given, program);
      await withSession(program, async ({ client }) =>
        print(JSON.stringify((await client.query(name, input, options)) ?? null)),
      );
    });

  program
    .command('commands')
    .description('what the cluster offers: commands and queries, with their inputs')
    .argument('[name]', 'only this one: the JSON Schema of its input')
    .option('--json', 'all, as JSON with JSON Schemas')
    .addHelpText('after', examples('craft commands', 'craft commands kv.put'))
    .action((name: string | undefined, { json: asJson = false }: { json?: boolean }) =>
      withSession(program, async ({ client }) => {
        const description = await client.describe();
        if (name !== undefined) print(JSON.stringify(inputSchema(description, name), undefined, 2));
        else print(asJson ? description : commandsTable(description));
      }),
    );

  program
    .command('status')
    .description('whether the cluster is healthy, what is wrong, and how far every server is')
    .option('--json', 'as JSON')
    .option('--watch [seconds]', 'again and again, until Ctrl-C', integer(1))
    .addHelpText(
      'after',
      '\nExit code: 0 healthy; 1 degraded: something is wrong, and all is served;\n2 not serving, or wrong usage.',
    )
    .action(async ({ json: asJson = false, watch }: { json?: boolean; watch?: number | true }) => {
      const show = (servers: readonly StatusLine[], health: Health): void => {
        if (watch !== undefined && process.stdout.isTTY) process.stdout.write(CLEAR_SCREEN);
        print(asJson ? statusJson(servers, health) : statusTable(servers, health));
        process.exitCode = LEVELS[health.level];
      };
      try {
        await withSession(program, async (session) => {
          for (;;) {
            const servers = await statusLines(session);
            show(servers, assess(servers));
            if (watch === undefined) return;
            await delay(watch === true ? WATCH_MS : watch * 1_000);
          }
        });
      } catch (error) {
        show([], unreachable(error instanceof Error ? error.message : String(error)));
      }
    });

  program
    .command('log')
    .description('the merged log, an entry a line, as JSON')
    .option('--server <name>', 'whose copy; default: the first one that answers')
    .option('--from <n>', 'the first merged index', integer(1), 1)
    .option('--follow', 'go on with what is still to come')
    .addHelpText('after', examples('craft log --from 1000 | head', 'craft log --server s2 --follow'))
    .action((options: { server?: string; from: number; follow?: boolean }) =>
      withSession(program, async ({ connection, client, subjects }) => {
        const server = options.server ?? (await client.status())[0]?.server;
        if (server === undefined) throw new CraftError('UNAVAILABLE', 'no server answers');
        const stream = subjects.logStream(server);
        await printLog(connection, stream, { from: options.from, follow: options.follow === true }, print);
      }),
    );
  addRecover(program);
  program
    .command('verify')
    .description('have all servers compare their rows; prints a server a line, as JSON')
    .addOption(waitOption('for all of it', VERIFY_MS))
    .action((options: { wait: number }) => withSession(program, (session) => verify(session, options.wait, print)));
  program
    .command('rebuild')
    .description('make the state of a server that differs again, from a snapshot that a majority has confirmed')
    .argument('<server>')
    .addOption(waitOption('for all of it', REBUILD_MS))
    .action((server: string, options: { wait: number }) =>
      withSession(program, (session) => rebuild(session, server, options.wait, print)),
    );
  addMachine(program);
  addMembers(program);
  addSnapshots(program);
  for (const command of program.commands) command.exitOverride();
  return program;
}

/** Says where the log store is in the words of the replica's configuration, and takes that for a default. */
function addRecover(program: Command): void {
  program
    .command('recover')
    .description(
      'after a quorum is lost for good: tell a stopped survivor who is left (deploy/README.md, "A quorum is lost for good")',
    )
    .requiredOption('--server <name>', 'this survivor')
    .requiredOption('--survivors <names>', 'all that are left, separated by commas')
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
    .option('--confirm <cluster>', 'the name of the cluster: really do it')
    .action(async (options: RecoverArguments) => {
      const { cluster, nats, creds } = program.opts<GlobalOptions>();
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
          natsCreds: creds,
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

/** A large state takes a while to be read and written everywhere (milliseconds). */
const RESTORE_MS = 600_000;
/** Every server reads all its rows (milliseconds). */
const VERIFY_MS = 600_000;
/** A server says after two minutes that there is no snapshot; to install a large one takes longer (milliseconds). */
const REBUILD_MS = 600_000;

/** Changes of members take as long as a new server needs to catch up (milliseconds). */
const MEMBERS_MS = 600_000;

/** Every server runs the migrations of the version (milliseconds). */
const SWITCH_MS = 600_000;

function addMachine(program: Command): void {
  const machine = program
    .command('machine')
    .description('versions of the state machine: what the servers have, and the switch')
    .addHelpText('after', examples('craft machine status', 'craft machine switch 2'));
  machine
    .command('status')
    .description(
      'the version in force and those that are loaded, with fingerprints of their code, a server a line, as JSON',
    )
    .action(() => withSession(program, (session) => machineStatus(session, print)));
  machine
    .command('switch')
    .description('have all servers go on with another version, from one place in the log')
    .argument('<version>', 'loaded by every member', integer(1))
    .addOption(waitOption('for all of it', SWITCH_MS))
    .action((version: number, options: { wait: number }) =>
      withSession(program, (session) => switchMachine(session, version, options.wait, print)),
    );
  for (const command of machine.commands) command.exitOverride();
}

function addMembers(program: Command): void {
  const members = program
    .command('members')
    .description('who belongs to the cluster; add and remove servers')
    .addHelpText('after', examples('craft members list', 'craft members add s4', 'craft members remove s1'));
  const wait = () => waitOption('for the whole change', MEMBERS_MS);
  const admin = (work: (admin: MembersAdmin) => Promise<void>, timeoutMs: number) =>
    withSession(program, async ({ connection, client, subjects }) => {
      const groups = (await client.status())[0]?.groups.length;
      if (groups === undefined) throw new CraftError('UNAVAILABLE', 'no server answers');
      await work(new MembersAdmin({ connection, subjects, groups, timeoutMs, print }));
    });
  members
    .command('list')
    .description('the voters and learners of every group, a group a line, as JSON')
    .action(() =>
      admin(async (one) => {
        for (const group of await one.list()) print(group);
      }, program.opts<GlobalOptions>().timeout),
    );
  members
    .command('add')
    .description('add a server that has been started with CRAFT_JOIN=true')
    .argument('<server>')
    .addOption(wait())
    .action((server: string, options: { wait: number }) => admin((one) => one.add(server), options.wait));
  members
    .command('remove')
    .description('take a server out; stop it afterwards')
    .argument('<server>')
    .addOption(wait())
    .action((server: string, options: { wait: number }) => admin((one) => one.remove(server), options.wait));
  for (const command of members.commands) command.exitOverride();
}

function addSnapshots(program: Command): void {
  const snapshot = program
    .command('snapshot')
    .description('snapshots of the state, in the object store of the cluster')
    .addHelpText('after', examples('craft snapshot save backup', 'craft snapshot restore backup'));
  snapshot
    .command('list')
    .description('what there is, oldest first, a snapshot a line, as JSON')
    .action(() => withSession(program, async (session) => listSnapshots(session, print)));
  snapshot
    .command('take')
    .description('take one now; prints what it is')
    .action(() =>
      withSession(program, async (session) => takeSnapshot(session, program.opts<GlobalOptions>().timeout, print)),
    );
  snapshot
    .command('save')
    .description('take one and write it to a file, for `restore`')
    .argument('<file>')
    .action((file: string) =>
      withSession(program, async (session) =>
        saveSnapshot(session, file, program.opts<GlobalOptions>().timeout, print),
      ),
    );
  snapshot
    .command('restore')
    .description('make the state of a file that of this cluster, at every server')
    .argument('<file>')
    .option('--replace', 'although there is a state, which is lost', false)
    .addOption(waitOption('for all of it', RESTORE_MS))
    .action((file: string, { replace, wait }: { replace: boolean; wait: number }) =>
      withSession(program, (session) => restoreSnapshot(session, file, { replace, timeoutMs: wait }, print)),
    );
  for (const command of snapshot.commands) command.exitOverride();
}

async function main(): Promise<number> {
  try {
    await createProgram().parseAsync();
    return EXIT.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    const code = error instanceof CraftError ? `${error.code}: ` : '';
    const id = error instanceof OutcomeUnknownError && error.id !== '' ? ` (id ${error.id})` : '';
    process.stderr.write(`craft: ${code}${error instanceof Error ? error.message : String(error)}${id}\n`);
    return error instanceof OutcomeUnknownError ? EXIT.unknown : EXIT.refused;
  }
}

// A reader that has seen enough (`craft log | head`) closes the pipe.
process.stdout.on('error', () => process.exit(EXIT.done));
const exitCode = await main();
if (exitCode !== EXIT.done) process.exitCode = exitCode;
