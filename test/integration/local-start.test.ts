/**
 * `npm start` and `npm run demo` as a person uses them: the built programs, their output, their
 * ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, headers } from 'nats';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startOf } from '../../deploy/local/pid-file.js';
import { requireFreePort } from '../../deploy/local/ports.js';
import { projectRoot } from '../../deploy/local/project.js';
import { findNatsServer } from '../../deploy/local/tools/nats-server.js';
import {
  eventually,
  freePortRow,
  freePorts,
  runBlock,
  shellBlocks,
  sumOf,
  type TemporaryFolder,
  temporaryFolder,
} from '../harness/index.js';

class Program {
  output = '';
  private readonly exited: Promise<unknown[]>;
  private constructor(private readonly child: ChildProcess) {
    this.exited = once(child, 'exit');
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
      });
    }
  }

  static run(name: string, environment: NodeJS.ProcessEnv): Program {
    const program = join(projectRoot(), 'dist', 'deploy', 'local', `${name}.js`);
    const child = spawn(process.execPath, [program], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return new Program(child);
  }

  /** As npm runs a script that is this command: in a shell, which npm tells to end. */
  static script(args: readonly string[], environment: NodeJS.ProcessEnv): Program {
    const command = join(projectRoot(), 'dist', 'services', 'cli', 'main.js');
    // A second command keeps the shell from becoming the first one.
    const child = spawn('/bin/sh', ['-c', '"$0" "$@"; exit', process.execPath, command, ...args], {
      env: { ...process.env, npm_lifecycle_event: 'dev', ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return new Program(child);
  }

  async line(pattern: RegExp): Promise<void> {
    await eventually(
      `a line like ${pattern}`,
      () => {
        if (this.child.exitCode !== null && !pattern.test(this.output))
          throw new Error(`it has ended:\n${this.output}`);
        return pattern.test(this.output);
      },
      { timeoutMs: 60_000 },
    );
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** The exit code, or the signal that ended it. */
  async end(): Promise<unknown> {
    const [code, signal] = await this.exited;
    return code ?? signal;
  }
}

describe('npm start', () => {
  let folder: TemporaryFolder;
  let natsPort: number;
  let postgresPort: number;
  let environment: NodeJS.ProcessEnv;
  let program: Program;

  beforeAll(async () => {
    folder = await temporaryFolder('start');
    [natsPort = 0, postgresPort = 0] = await freePorts(2);
    environment = {
      CRAFT_DATA_DIR: folder.path,
      CRAFT_NATS_PORT: String(natsPort),
      CRAFT_POSTGRES_PORT: String(postgresPort),
      CRAFT_JAEGER: 'none',
      CRAFT_STATE_MACHINE: bank(1),
    };
  });
  afterEach(async () => {
    program.kill('SIGKILL');
    await program.end();
    await eventually('the end of all processes', async () => (await startedProcesses()).length === 0);
  });
  afterAll(() => folder.remove());

  interface PidRecord {
    readonly name: string;
    readonly pid: number;
    readonly started: string;
  }

  async function startedProcesses(): Promise<PidRecord[]> {
    const run = join(folder.path, 'run');
    const records = readdirSync(run).map((file) => JSON.parse(readFileSync(join(run, file), 'utf8')) as PidRecord);
    const alive: PidRecord[] = [];
    for (const one of records) if ((await startOf(one.pid)) === one.started) alive.push(one);
    return alive;
  }

  const bank = (version: number) => join(projectRoot(), `dist/test/integration/cluster/bank-${version}.js`);

  async function command(id: string, name: string, input: object): Promise<Record<string, unknown>> {
    const connection = await connect({ servers: `nats://127.0.0.1:${natsPort}` });
    try {
      const header = headers();
      header.set('Nats-Msg-Id', id);
      const options = { headers: header, timeout: 10_000 };
      const reply = await connection.request(`craft.cmd.${name}`, JSON.stringify(input), options);
      return reply.json();
    } finally {
      await connection.close();
    }
  }

  const open = (id: string, name: string) => command(id, 'open', { name, balance: 7 });

  async function start(more: NodeJS.ProcessEnv = {}): Promise<Program> {
    program = Program.run('start', { ...environment, ...more });
    await program.line(/^craft is ready/m);
    return program;
  }

  it('prints every address and three commands, is ready, and stops all at Ctrl-C', async () => {
    const metricsPort = await freePortRow(3);
    await start({ CRAFT_METRICS_PORT: String(metricsPort) });
    expect(program.output).toContain(`nats://127.0.0.1:${natsPort}`);
    for (const [at, server] of ['s1', 's2', 's3'].entries()) {
      expect(program.output).toContain(`postgres://craft:craft@127.0.0.1:${postgresPort}/craft_${server}`);
      const url = `http://127.0.0.1:${metricsPort + at}/metrics`;
      expect(program.output).toContain(`Metrics    ${url} (${server})`);
      expect(sumOf(await (await fetch(url)).text(), 'craft_serves', { service: 'replica', server })).toBe(1);
    }
    const commands = program.output.match(/^ .*npm run --silent craft -- .+$/gm);
    expect(commands).toHaveLength(3);
    expect((await startedProcesses()).map(({ name }) => name).sort()).toEqual(
      ['launcher', 'nats', 'postgres', 's1', 's2', 's3'].sort(),
    );
    expect(await open('first', 'kept')).toMatchObject({ ok: true, index: 1, result: { version: 1 } });
    program.kill('SIGINT');
    expect(await program.end()).toBe(0);
    expect(readdirSync(join(folder.path, 'run'))).toEqual([]);
    await requireFreePort(natsPort, 'NATS', 'CRAFT_NATS_PORT');
    await requireFreePort(postgresPort, 'Postgres', 'CRAFT_POSTGRES_PORT');
  });

  it('finds the data again, and switches to a newer version of the state machine', async () => {
    environment['CRAFT_STATE_MACHINE'] = bank(2);
    await start();
    expect(program.output).toMatch(/^the state machine is switched to version 2$/m);
    expect(await open('first', 'kept')).toMatchObject({ ok: true, index: 1, result: { version: 1 } });
    const sql = postgres(`postgres://craft:craft@127.0.0.1:${postgresPort}/craft_s3`, { max: 1 });
    const rows = await sql`select name, balance::int, credit::int from account`;
    await sql.end();
    expect([...rows]).toEqual([{ name: 'kept', balance: 7, credit: 0 }]);
    expect(await command('fee', 'charge', { name: 'kept', fee: 1 })).toMatchObject({
      ok: true,
      result: { version: 2 },
    });
    // The guide's own commands; what is in force already is switched to again.
    const [first = '', second = '', ...others] = await shellBlocks('shared/engine/README.md', 'For operators');
    expect(others).toEqual([]);
    const at = { CRAFT_NATS_URL: `nats://127.0.0.1:${natsPort}` };
    const status = await runBlock(first, folder.path, at);
    const switched = await runBlock(second, folder.path, at);
    expect(status).toEqual([
      expect.stringMatching(/^server +in force +applied +loaded$/),
      ...['s1', 's2', 's3'].map((server) => expect.stringMatching(new RegExp(`^${server} +bank 2 .* 1 \\(`))),
    ]);
    expect(switched.map((line) => JSON.parse(line))).toMatchObject([
      { name: 'bank', version: 2, servers: ['s1', 's2', 's3'] },
    ]);
    program.kill('SIGTERM');
    expect(await program.end()).toBe(0);
  });

  it('does not say that it is ready when the newest version cannot be had', async () => {
    program = Program.script(['dev', '--machine', bank(3)], environment);
    await program.line(/^craft runs, without the newest version of the state machine/m);
    expect(program.output).toMatch(/^the state machine is not switched: .*/m);
    expect(program.output).not.toContain('craft is ready');
    expect(await open('first', 'kept')).toMatchObject({ ok: true, index: 1 });
    // npm ends the shell of a script, which says nothing to the processes below it.
    program.kill('SIGTERM');
    expect(await program.end()).toBe('SIGTERM');
    await eventually('the end of all processes', async () => (await startedProcesses()).length === 0);
    expect(program.output).toMatch(/^stopping …$/m);
  });

  it('ends with the reason when no server is left', async () => {
    await start();
    await eventually(
      'five ends of each server',
      async () => {
        for (const { name, pid } of await startedProcesses()) if (/^s\d$/.test(name)) process.kill(pid, 'SIGKILL');
        return /no server runs any more/.test(program.output);
      },
      { timeoutMs: 60_000, everyMs: 100 },
    );
    expect(await program.end()).toBe(1);
    expect(program.output).toMatch(/^craft: no server runs any more: s\d ended with SIGKILL$/m);
    expect(await startedProcesses()).toEqual([]);
  });

  it('that cannot start its servers ends with the reason', async () => {
    program = Program.run('start', { ...environment, CRAFT_PAYLOAD_BYTES_MAX: 'x' });
    expect(await program.end()).toBe(1);
    expect(program.output).toMatch(
      /^craft: no server runs any more: s\d ended with code 2: .*CRAFT_PAYLOAD_BYTES_MAX/m,
    );
  });

  it('starts a server again that is killed, and leaves nothing behind when it is killed itself', async () => {
    await start();
    const before = (await startedProcesses()).find(({ name }) => name === 's2');
    if (before?.pid === undefined) throw new Error('no process');
    process.kill(before.pid, 'SIGKILL');
    await program.line(/s2 ended with SIGKILL; starting it again/);
    await eventually('another s2', async () => {
      const now = (await startedProcesses()).find(({ name }) => name === 's2');
      return now !== undefined && now.pid !== before?.pid;
    });
    // Asked again with the same id until the groups that s2 may have led have leaders again.
    await eventually('an answer', async () => (await open('after', 'after'))['ok'], { timeoutMs: 20_000 });
    program.kill('SIGKILL');
    expect(await program.end()).toBe('SIGKILL');
    await eventually('the end of all processes', async () => (await startedProcesses()).length === 0);
    await start();
    expect(await open('after', 'after')).toMatchObject({ ok: true, result: { version: 1 } });
    program.kill('SIGINT');
    expect(await program.end()).toBe(0);
  });

  it('stops cleanly when told to while it starts', async () => {
    program = Program.run('start', environment);
    await eventually('its first process', async () => (await startedProcesses()).length > 1);
    program.kill('SIGINT');
    expect(await program.end()).toBe(0);
    expect(readdirSync(join(folder.path, 'run'))).toEqual([]);
  });

  it('names the variable of a port that is taken, and of one that is no port', async () => {
    const taken = await start();
    const second = await temporaryFolder('start');
    const other = Program.run('start', { ...environment, CRAFT_DATA_DIR: second.path });
    expect(await other.end()).toBe(1);
    expect(other.output).toMatch(new RegExp(`port ${natsPort} \\(NATS\\) is in use.*CRAFT_NATS_PORT`));
    await second.remove();

    const same = Program.run('start', environment);
    expect(await same.end()).toBe(1);
    expect(same.output).toMatch(/is in use by the launcher with process id \d+/);

    const wrong = Program.run('start', { ...environment, CRAFT_POSTGRES_PORT: 'x' });
    expect(await wrong.end()).toBe(1);
    expect(wrong.output).toContain('CRAFT_POSTGRES_PORT');
    // None of them has touched the one that runs.
    expect(await open('still', 'still')).toMatchObject({ ok: true });
    taken.kill('SIGINT');
    expect(await taken.end()).toBe(0);
  });
});

describe('npm run demo', () => {
  let folder: TemporaryFolder;
  beforeAll(async () => {
    folder = await temporaryFolder('demo');
  });
  afterAll(() => folder.remove());

  it('shows equal databases and a whole trace without Jaeger', async () => {
    const { path } = await findNatsServer();
    const program = Program.run('demo', { NATS_SERVER_BIN: path, JAEGER_BIN: '/nowhere/jaeger', TMPDIR: folder.path });
    expect(await program.end(), program.output).toBe(0);
    const checksums = [...program.output.matchAll(/merged index 301, checksum ([0-9a-f]{16})/g)].map(
      (match) => match[1],
    );
    expect(checksums).toHaveLength(3);
    expect(new Set(checksums).size).toBe(1);
    expect(program.output).toContain('from a receiver of OTLP in this demo');
    expect(program.output).toMatch(/^ {2}put +demo-client/m);
    expect(program.output.match(/ craft\.apply /g)).toHaveLength(3);
    expect(readdirSync(folder.path), 'what the demo left behind').toEqual([]);
  });

  it('fails, and says why, when something it needs is missing', async () => {
    const program = Program.run('demo', { NATS_SERVER_BIN: '/nowhere/nats-server', TMPDIR: folder.path });
    expect(await program.end()).toBe(1);
    expect(program.output).toMatch(/demo failed: nats-server could not be found[\s\S]*NATS_SERVER_BIN/);
  });
});
