/**
 * npm run upgrade -- --from REVISION [--commands N]
 *
 * A rolling upgrade of craft itself: a cluster of the build of another revision gets the build of
 * this work tree, one server after the other, while clients write. Between two upgrades the cluster
 * is mixed, and each group must take commands. At the end nothing that was acknowledged is lost or
 * executed twice, and all databases have the same rows. Exit code 0: all of that held; 1: not; 2:
 * wrong usage.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect, headers, type NatsConnection } from 'nats';
import type { LocalCluster } from '../../deploy/local/cluster.js';
import { projectRoot } from '../../deploy/local/project.js';
import { connectCraft } from '../../shared/client/index.js';
import { eventually, startTestCluster, temporaryFolder } from '../harness/index.js';
import { converged } from '../integration/cluster/inspect.js';

const USAGE = 'usage: npm run upgrade -- --from REVISION [--commands N]';
const WRITERS = 8;
const ANSWER_MS_MAX = 5_000;
const STEP_MS_MAX = 60_000;

interface Reply {
  readonly ok: boolean;
  readonly index?: number;
  readonly error?: { readonly code: string; readonly message: string; readonly retryable: boolean };
}

/**
 * Builds `revision` in a folder, with the dependencies of its own. Returns its services/main.js.
 */
function build(revision: string, folder: string): string {
  const run = (command: string, args: readonly string[], cwd = folder, input?: Buffer): Buffer =>
    execFileSync(command, args, {
      cwd,
      ...(input && { input }),
      stdio: ['pipe', 'pipe', 'inherit'],
      maxBuffer: 2 ** 28,
    });
  run('tar', ['-x'], folder, run('git', ['archive', revision], projectRoot()));
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel', 'error']);
  run('npm', ['run', '--silent', 'build']);
  return join(folder, 'dist', 'services', 'main.js');
}

/** Clients that write each key once, and ask again with the same id until they know. */
class Writers {
  readonly acknowledged = new Set<string>();
  lastIndex = 0;
  private isOver = false;

  constructor(
    private readonly connection: NatsConnection,
    private readonly groups: number,
  ) {}

  async run(): Promise<void> {
    const write = async (writer: number): Promise<void> => {
      for (let n = 0; !this.isOver; n += 1) await this.write(`w${writer}-${n}`, n % (this.groups + 1));
    };
    await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
  }

  end(): void {
    this.isOver = true;
  }

  /** @param target a group, or the number of groups for any leader. */
  async write(key: string, target: number): Promise<void> {
    const subject = target === this.groups ? 'craft.cmd.kv.put' : `craft.group.${target}.cmd.kv.put`;
    // Executed twice, it would be rejected.
    const payload = JSON.stringify({ key, value: {}, ifVersion: 0 });
    const id = randomUUID();
    const reply = await eventually(
      `an answer to ${key}`,
      async () => {
        const got = await this.ask(subject, payload, id);
        return got.ok || !mayAskAgain(got) ? got : undefined;
      },
      { timeoutMs: STEP_MS_MAX },
    );
    if (!reply.ok) throw new Error(`${key}: ${reply.error?.code} ${reply.error?.message}`);
    this.acknowledged.add(key);
    this.lastIndex = Math.max(this.lastIndex, reply.index ?? 0);
  }

  private async ask(subject: string, payload: string, id: string): Promise<Reply> {
    const header = headers();
    header.set('Nats-Msg-Id', id);
    const reply = await this.connection.request(subject, payload, { timeout: ANSWER_MS_MAX, headers: header });
    return reply.json<Reply>();
  }
}

const mayAskAgain = ({ error }: Reply): boolean => error?.retryable === true || error?.code === 'TIMEOUT_UNKNOWN';

/** What each server runs now, for people. */
async function printStatus(cluster: LocalCluster): Promise<void> {
  const client = await connectCraft({ servers: cluster.natsUrl });
  try {
    const statuses = await client.status();
    const lines = statuses.map(({ server, version = '?', protocol, groups }) => {
      const leads = groups.flatMap(({ role, group }) => (role === 'leader' ? [group] : []));
      const speaks = protocol === undefined ? 'no protocol version' : `protocol ${protocol.writes}`;
      return `${server}: craft ${version}, ${speaks}, leads ${leads.join(', ') || 'nothing'}`;
    });
    console.log(lines.sort().join('\n'));
    const refused = statuses.flatMap(({ protocol }) => protocol?.refused ?? []);
    if (refused.length > 0) throw new Error(`servers do not understand each other: ${JSON.stringify(refused)}`);
  } finally {
    await client.close();
  }
}

/**
 * @param old the services/main.js that all servers run at first @param commands between two
 * upgrades, at least
 */
async function upgrade(old: string, commands: number): Promise<void> {
  const upgraded = new Set<string>();
  const { cluster, stop } = await startTestCluster({ programOf: (server) => (upgraded.has(server) ? undefined : old) });
  const connection = await connect({ servers: cluster.natsUrl });
  const writers = new Writers(connection, cluster.groups);
  const writing = writers.run();
  try {
    await Promise.race([writing, rollThrough(cluster, upgraded, writers, commands)]);
    writers.end();
    await writing;
    const databases = await converged(cluster, writers.lastIndex, STEP_MS_MAX);
    const states = new Set(databases.map((one) => JSON.stringify(one)));
    const [first] = databases;
    if (states.size !== 1) throw new Error(`the databases differ: ${[...states].join(' ')}`);
    if (first?.keys !== writers.acknowledged.size) {
      throw new Error(`${writers.acknowledged.size} commands were acknowledged, and there are ${first?.keys} rows`);
    }
    console.log(`${first.keys} commands, each executed once; the rows of all databases are equal (${first.rowsHash})`);
  } finally {
    writers.end();
    await connection.close();
    await stop();
  }
}

async function rollThrough(
  cluster: LocalCluster,
  upgraded: Set<string>,
  writers: Writers,
  commands: number,
): Promise<void> {
  const more = async (): Promise<void> => {
    const before = writers.acknowledged.size;
    await eventually(`${commands} more commands`, () => writers.acknowledged.size >= before + commands, {
      timeoutMs: STEP_MS_MAX,
    });
  };
  await more();
  await printStatus(cluster);
  for (const server of cluster.servers) {
    await cluster.kill(server, 'SIGTERM');
    upgraded.add(server);
    await cluster.restart(server);
    await cluster.waitReady({ servers: cluster.servers, timeoutMs: STEP_MS_MAX });
    console.log(`\n${server} is upgraded`);
    await more();
    await printStatus(cluster);
    for (let group = 0; group < cluster.groups; group += 1) await writers.write(`mixed-${server}-${group}`, group);
  }
}

async function main(): Promise<number> {
  let from: string;
  let commands: number;
  try {
    const text = { type: 'string' } as const;
    const { values } = parseArgs({ options: { from: text, commands: text } });
    if (values.from === undefined) throw new RangeError('which revision?');
    from = values.from;
    commands = Number(values.commands ?? 500);
    if (!Number.isSafeInteger(commands) || commands < 1)
      throw new RangeError(`${values.commands} is no number of commands`);
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  const folder = await temporaryFolder('upgrade');
  try {
    console.log(`building ${from} …`);
    await upgrade(build(from, folder.path), commands);
    return 0;
  } catch (error) {
    console.error(error);
    return 1;
  } finally {
    await folder.remove();
  }
}

process.exitCode = await main();
