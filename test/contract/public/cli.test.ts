/** The command line client and the TypeScript client against three real servers. */
import { execFile, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { connect } from 'nats';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { projectRoot } from '../../../deploy/local/project.js';
import { type CraftClient, connectCraft, RejectedError } from '../../../shared/client/index.js';
import { VERSION } from '../../../shared/config/version.js';
import { runBlock, runPsqlBlock, shellBlocks, startTestCluster, type TestCluster } from '../../harness/index.js';

interface Run {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Heading of its README, a command that ends well where the client can run, and what that says
 * where something is missing.
 */
const OTHER_CLIENTS: readonly (readonly [heading: string, probe: string, isMissing: RegExp])[] = [
  ['Python', 'python3 -c "import nats, google.protobuf, grpc_tools.protoc"', /not found|No module named/],
  [
    'Go',
    'go -C deploy/examples/clients/go list -deps .',
    /not found|disabled by GOPROXY=off|requires go >=|not defined: -C/,
  ],
  ['Command line of NATS', 'nats --version', /not found/],
];

/**
 * What is missing on this machine; undefined when nothing is. Rejects when the probe fails for
 * another reason.
 */
async function lackOf(probe: string, isMissing: RegExp, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  try {
    await promisify(execFile)('sh', ['-c', probe], { env, cwd: projectRoot() });
    return undefined;
  } catch (error) {
    const { stderr } = error as { stderr: string };
    const lack = stderr.split('\n').find((line) => isMissing.test(line));
    if (lack === undefined) throw new Error(`${probe} failed: ${stderr}`, { cause: error });
    return lack.trim();
  }
}

describe('clients', () => {
  const program = join(projectRoot(), 'dist/services/cli/main.js');
  let test: TestCluster;
  let client: CraftClient;

  beforeAll(async () => {
    test = await startTestCluster();
    client = await connectCraft({ servers: test.cluster.natsUrl });
  });
  afterAll(async () => {
    await client?.close();
    await test?.stop();
  });

  const environment = () => ({ ...process.env, CRAFT_NATS_URL: test.cluster.natsUrl });
  function craftGiven(input: string, ...args: string[]): Promise<Run> {
    return new Promise((resolve) => {
      const child = execFile(process.execPath, [program, ...args], { env: environment() }, (error, stdout, stderr) => {
        resolve({ exitCode: error === null ? 0 : Number(error.code), stdout, stderr });
      });
      // It may end before it has read.
      child.stdin?.on('error', () => undefined).end(input);
    });
  }
  const craft = (...args: string[]) => craftGiven('', ...args);
  const lines = (text: string) => text.trimEnd().split('\n');

  it('craft cmd prints the reply; the same id again prints the same', async () => {
    const args = ['cmd', 'kv.put', '{"key":"cli","value":[1]}', '--id', 'cli-1', '--group', '2'];
    const first = await craft(...args);
    expect(first).toMatchObject({ exitCode: 0, stderr: '' });
    expect(JSON.parse(first.stdout)).toMatchObject({ id: 'cli-1', group: 2, result: { version: 1 } });
    expect(await craft(...args)).toEqual(first);
    const committed = await craft('cmd', 'kv.put', '{"key":"cli","value":2}', '--ack', 'committed');
    expect(JSON.parse(committed.stdout)).not.toHaveProperty('index');
  });

  it('craft cmd tells refusals and wrong usage by its exit code', async () => {
    expect(await craft('cmd', 'kv.put', '{"key":"cli","value":1,"ifVersion":99}')).toMatchObject({
      exitCode: 1,
      stdout: '',
      stderr: expect.stringContaining('REJECTED'),
    });
    expect((await craft('cmd', 'kv.fly', '{}')).stderr).toContain('UNKNOWN_COMMAND');
    for (const wrong of [['cmd', 'kv.put', 'no json'], ['cmd'], ['fly'], ['cmd', 'kv.put', '{}', '--ack', 'maybe']]) {
      expect((await craft(...wrong)).exitCode, wrong.join(' ')).toBe(2);
    }
  });

  it('craft cmd and craft query take the input from a file or from standard input', async () => {
    const file = join(test.folder, 'input.json');
    await writeFile(file, '{"key":"from a file","value":1}');
    expect(JSON.parse((await craft('cmd', 'kv.put', `@${file}`)).stdout)).toMatchObject({ result: { version: 1 } });
    const { stdout } = await craftGiven('{"key":"from a file"}', 'query', 'kv.get', '-');
    expect(JSON.parse(stdout)).toMatchObject({ value: 1 });
    for (const wrong of [`@${file}.none`, '-', '{']) {
      const { exitCode, stderr } = await craftGiven('no json', 'query', 'kv.get', wrong);
      expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/^error: the input is /)]);
    }
  });

  it('craft commands says what the cluster offers', async () => {
    const { stdout, exitCode } = await craft('commands');
    expect([exitCode, lines(stdout)]).toEqual([
      0,
      expect.arrayContaining(['kv, version 1', 'kv.put     {key: string, value: any, ifVersion?: integer}']),
    ]);
    const schema = JSON.parse((await craft('commands', 'kv.get')).stdout);
    expect(schema).toMatchObject({ type: 'object', required: ['key'], additionalProperties: false });
    expect(JSON.parse((await craft('commands', '--json')).stdout)).toMatchObject({
      queries: { 'kv.get': { input: schema } },
    });
    expect(await craft('commands', 'kv.fly')).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('kv.txn') });
  });

  it('craft completion bash completes commands, options and what the cluster offers', async () => {
    const script = `craft() { '${process.execPath}' '${program}' "$@"; }
      source <(craft completion bash)
      try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _craft; echo "\${COMPREPLY[@]}"; }
      try craft sna; try craft cmd --ack o; try craft cmd kv.; try craft query kv.l`;
    const { stdout } = await promisify(execFile)('bash', ['-c', script], { env: environment() });
    expect(lines(stdout)).toEqual(['snapshot', 'ordered', 'kv.delete kv.put kv.txn', 'kv.list']);
  });

  it('craft context keeps an address, which an option wins over', async () => {
    const { CRAFT_NATS_URL: address = '', ...rest } = environment();
    const own = { ...rest, XDG_CONFIG_HOME: test.folder };
    const run = (...args: string[]) =>
      promisify(execFile)(process.execPath, [program, ...args], { env: own }).then(({ stdout }) => stdout);
    await run('context', 'add', 'here', '--nats', address, '--cluster', 'nobody', '--select');
    expect(await run('context', 'list')).toBe(`* here  ${address}  nobody\n`);
    const silent = { code: 2, stdout: expect.stringMatching(/^not serving: no server answers/) };
    await expect(run('status')).rejects.toMatchObject(silent);
    expect(await run('--cluster', test.cluster.cluster, 'status')).toMatch(/^healthy/);
    await expect(run('--context', 'there', 'status')).rejects.toMatchObject({ code: 2 });
    const nothing = { code: 2, stderr: expect.stringContaining('nothing to keep') };
    await expect(run('context', 'add', 'empty')).rejects.toMatchObject(nothing);
  });

  it('craft --version and --help say what one looks for; what is mistyped is told in words', async () => {
    expect((await craft('--version')).stdout).toBe(`${VERSION}\n`);
    for (const command of [[], ['cmd'], ['query'], ['status'], ['log'], ['members'], ['machine'], ['snapshot']]) {
      const { stdout, exitCode } = await craft(...command, '--help');
      expect([exitCode, stdout], command.join()).toEqual([0, expect.stringMatching(/^(Examples:|Exit code)/m)]);
    }
    expect((await craft('statsu')).stderr).toContain('Did you mean status?');
    expect((await craft('cmd', 'kv put', '{}')).stderr).toMatch(
      /^craft: UNKNOWN_COMMAND: "kv put" is not a valid name/,
    );
    expect((await craft('query', '', '{}')).stderr).toMatch(/^craft: UNKNOWN_COMMAND: "" is not a valid name/);
    expect((await craft('cmd', 'kv.put', '{}', '--after', '99999999999999999')).stderr).toMatch(
      /not an integer from 1 to 9007199254740991/,
    );
  });

  it('craft status says that all is well, shows every server and every group, and fits into 80 columns', async () => {
    const { stdout, exitCode } = await craft('status');
    const [verdict, servers = [], groups = []] = stdout.split('\n\n').map((part) => lines(part));
    expect(verdict).toEqual([expect.stringMatching(/^healthy: 3 of 3 servers, 3 of 3 groups led, behind by \d+$/)]);
    expect(exitCode).toBe(0);
    const columns = (line: string) => line.split(/\s{2,}/);
    expect(columns(servers[0] ?? '')).toEqual(['server', 'leads', 'clock', 'merged', 'applied', 'machine', 'craft']);
    expect(servers.slice(1).map((line) => columns(line)[0])).toEqual(['s1', 's2', 's3']);
    expect(groups.slice(1).map((line) => columns(line)[0])).toEqual(['0', '1', '2']);
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
    // The guide shows the same columns.
    const guide = lines(await readFile(join(projectRoot(), 'deploy/README.md'), 'utf8')).map((line) => columns(line));
    for (const [headings = ''] of [servers, groups]) expect(guide).toContainEqual(columns(headings));
  });

  it('nats micro lists every service, with what it was asked', async () => {
    const connection = await connect({ servers: test.cluster.natsUrl });
    /** As `nats micro` asks: everything that answers, until as many have. */
    async function asked(subject: string, maxMessages: number): Promise<Record<string, unknown>[]> {
      const options = { strategy: 'count', maxMessages, maxWait: 10_000 } as const;
      const answers: Record<string, unknown>[] = [];
      for await (const message of await connection.requestMany(subject, undefined, options)) {
        answers.push(message.json());
      }
      return answers;
    }
    try {
      const all = await asked('$SRV.PING', 9);
      const names = ['craft-applier', 'craft-merger', 'craft-replica'];
      const expected = ['s1', 's2', 's3'].flatMap((server) => names.map((name) => `${name} ${server}`));
      const named = all.map(({ name, metadata }) => `${name} ${(metadata as { server: string }).server}`);
      expect(named.sort()).toEqual(expected.sort());
      expect(new Set(all.map(({ id }) => id)).size).toBe(9);
      for (const one of all) expect(one).toMatchObject({ version: VERSION, type: 'io.nats.micro.v1.ping_response' });

      await client.kv.put('micro', 1);
      await client.kv.get('micro');
      const [info] = await asked('$SRV.INFO.craft-replica', 1);
      expect(info).toMatchObject({
        ...{ type: 'io.nats.micro.v1.info_response', name: 'craft-replica', description: expect.stringMatching(/./) },
        metadata: { server: expect.stringMatching(/^s[123]$/), cluster: 'craft' },
        endpoints: [{ name: 'command', subject: 'craft.cmd.>', queue_group: 'leaders' }],
      });
      const sum = async (subject: string, field: string) => {
        const found = (await asked(subject, 3)).flatMap(({ endpoints }) => endpoints as Record<string, number>[]);
        return found.reduce((total, one) => total + Number(one[field]), 0);
      };
      expect(await sum('$SRV.STATS.craft-replica', 'num_requests')).toBeGreaterThan(0);
      expect(await sum('$SRV.STATS.craft-applier', 'num_requests')).toBeGreaterThan(0);
      expect(await sum('$SRV.STATS.craft-applier', 'processing_time')).toBeGreaterThan(0);

      const { id } = all.find(({ name }) => name === 'craft-applier') ?? {};
      const [stats, ...others] = await asked(`$SRV.STATS.craft-applier.${id}`, 1);
      expect(others).toEqual([]);
      expect(stats).toMatchObject({ type: 'io.nats.micro.v1.stats_response', id, started: expect.any(String) });
    } finally {
      await connection.close();
    }
  });

  it('the commands of README.md, "Use it", run as they stand', async () => {
    const [commands = '', sql = '', ...others] = await shellBlocks('README.md', 'Use it');
    expect(others).toEqual([]);
    const [put = '', got = '', status] = await runBlock(commands, test.folder, environment());
    const { version } = JSON.parse(put).result;
    expect(JSON.parse(got)).toEqual({ value: { n: 1 }, version });
    expect(status).toMatch(/^healthy: 3 of 3 servers/);

    await client.sync('s2');
    const rows = await runPsqlBlock(sql, Number(new URL(test.cluster.databaseUrl('s2')).port));
    expect(rows).toContainEqual(expect.objectContaining({ key: 'a', value: { n: 1 } }));
  });

  // A first build of the Go client compiles its modules.
  const FIRST_BUILD_MS = 240_000;
  it.for(OTHER_CLIENTS)(
    'the commands of deploy/examples/clients, "%s", run as they stand',
    { timeout: FIRST_BUILD_MS },
    async (other, { skip }) => {
      const [heading, probe, isMissing] = other;
      // A test downloads nothing.
      const own = { ...environment(), GOPROXY: 'off', GOTOOLCHAIN: 'local', TMPDIR: test.folder };
      const lack = await lackOf(probe, isMissing, own);
      skip(lack !== undefined, lack);

      const blocks = await shellBlocks('deploy/examples/clients/README.md', heading);
      const said = await runBlock(blocks.at(-1) ?? '', test.folder, own);
      const [first, again, refused, read, described, logged, ...more] = said.map((line) => JSON.parse(line));
      expect(first).toMatchObject({ ok: true, index: expect.any(Number), result: { version: 1 } });
      expect(again).toEqual(first);
      expect(refused).toMatchObject({ ok: false, error: { code: 'REJECTED', retryable: false } });
      expect(read).toEqual({ ok: true, result: { value: { n: 1 }, version: 1 } });
      expect(described.result).toEqual(await client.describe());
      const { index, group, timestamp } = first;
      const key = logged.id;
      const input = { key, value: { n: 1 }, ifVersion: 0 };
      expect(logged).toMatchObject({ index, group, timestamp, name: 'kv.put', id: expect.stringMatching(/./), input });
      expect(await client.kv.get(key)).toEqual({ value: { n: 1 }, version: 1 });
      expect(more).toEqual([]);
    },
  );

  it('craft status --json says the same to programs', async () => {
    const said = JSON.parse((await craft('status', '--json')).stdout);
    expect(said).toMatchObject({ level: 'healthy', problems: [], missing: [] });
    const state = { appliedIndex: expect.any(Number), ok: true };
    expect(said.servers).toMatchObject(
      ['s1', 's2', 's3'].map((server) => ({ server, mergedIndex: expect.any(Number), state })),
    );
    for (const { mergedIndex, state: applied } of said.servers) {
      expect(Math.min(mergedIndex, applied.appliedIndex)).toBeGreaterThanOrEqual(2);
    }
  });

  it('craft machine tells what is loaded, and switches only to what every member has', async () => {
    const { stdout, exitCode } = await craft('machine', 'status', '--json');
    const said = lines(stdout).map((line) => JSON.parse(line));
    expect(said).toMatchObject(
      ['s1', 's2', 's3'].map((server) => ({ server, name: 'kv', version: 1, loaded: [{ version: 1 }] })),
    );
    expect(exitCode).toBe(0);
    expect(lines((await craft('machine', 'status')).stdout)[0]).toBe('server  in force  applied  loaded');
    expect(lines((await craft('members', 'list')).stdout)).toEqual([
      'group  voters      learners  committed',
      ...['0', '1', '2'].map((group) => `${group}      s1, s2, s3  -         yes`),
    ]);
    expect(JSON.parse(lines((await craft('members', 'list', '--json')).stdout)[2] ?? '')).toEqual({
      ...{ group: 2, voters: ['s1', 's2', 's3'], learners: [], committed: true },
    });
    const refused = await craft('machine', 'switch', '2');
    expect(refused).toMatchObject({ exitCode: 1, stdout: '' });
    expect(refused.stderr).toMatch(/^craft: REJECTED: not every member has loaded version 2: s1, s2, s3/);
  });

  it('craft status of a cluster that does not answer is not serving: exit code 2', async () => {
    const { stdout, exitCode } = await craft('--cluster', 'nobody', 'status');
    expect(stdout).toMatch(/^not serving: no server answers/);
    expect(exitCode).toBe(2);
    const away = await craft('--nats', 'nats://user:secret@127.0.0.1:1', 'status');
    expect(away).toMatchObject({ exitCode: 2, stderr: '' });
    expect(away.stdout).toMatch(
      /^not serving: the cluster cannot be asked\nNATS does not run there, or the address is wrong/,
    );
    expect(away.stdout).not.toContain('secret');
  });

  it('craft log prints the merged log, from any index on, and follows it', async () => {
    for (let i = 0; i < 20; i += 1) await client.kv.put(`log-${i}`, i);
    const last = await client.kv.put('log-last', 'the end');
    const all = lines((await craft('log', '--server', 's2')).stdout).map((line) => JSON.parse(line));
    expect(all.map(({ index }) => index)).toEqual(Array.from({ length: all.length }, (_, i) => i + 1));
    expect(all.at(-1)).toMatchObject({
      index: last.index,
      group: last.group,
      timestamp: last.timestamp,
      name: 'kv.put',
      id: last.id,
      input: { key: 'log-last', value: 'the end' },
      outcome: 'ok',
    });
    const from = Math.floor(all.length / 2);
    const rest = lines((await craft('log', '--server', 's2', '--from', String(from))).stdout);
    expect(rest.map((line) => JSON.parse(line))).toEqual(all.slice(from - 1));

    const follower = spawn(
      process.execPath,
      [program, 'log', '--server', 's1', '--from', String(last.index), '--follow'],
      {
        env: environment(),
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const reader = createInterface({ input: follower.stdout })[Symbol.asyncIterator]();
    expect(JSON.parse((await reader.next()).value)).toMatchObject({ index: last.index });
    const next = await client.kv.put('log-next', 1);
    const ok = { index: next.index, id: next.id, outcome: 'ok' };
    expect(JSON.parse((await reader.next()).value)).toMatchObject(ok);
    await expect(client.kv.put('log-next', 2, { ifVersion: 9 })).rejects.toThrow(RejectedError);
    const rejected = { index: (next.index ?? 0) + 1, outcome: 'rejected', message: expect.stringMatching(/version/) };
    expect(JSON.parse((await reader.next()).value)).toMatchObject(rejected);
    follower.kill();
  });

  it('craft verify compares the rows of all servers, and craft rebuild makes those of one again', async () => {
    await client.kv.put('verified', 1);
    const verify = async () => {
      const { exitCode, stdout, stderr } = await craft('verify', '--wait', '60000');
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      return lines(stdout).map((line) => JSON.parse(line));
    };
    const found = await verify();
    const [{ mergedIndex, checksum, rows }] = found;
    const equal = { ok: true, verdict: 'equal', mergedIndex, checksum, rows };
    expect(found).toEqual(['s1', 's2', 's3'].map((server) => ({ server, ...equal })));
    expect(rows).toBeGreaterThan(0);
    // Two at once: each server looks at one mark at a time.
    await client.kv.delete('verified');
    for (const [again] of await Promise.all([verify(), verify()])) {
      expect(again.mergedIndex).toBeGreaterThan(mergedIndex);
      expect(again.rows).toBe(rows - 1);
    }

    const rebuilt = await craft('rebuild', 's2');
    expect(rebuilt).toMatchObject({ exitCode: 0, stderr: '' });
    expect(JSON.parse(rebuilt.stdout)).toEqual({ server: 's2', mergedIndex: expect.any(Number) });
    const listed = lines((await craft('snapshot', 'list', '--json')).stdout).map((line) => JSON.parse(line));
    // A newer one may be under way, which no other server has confirmed yet.
    expect(listed).toContainEqual(expect.objectContaining({ confirmed: true }));
    await client.sync('s2');
    await verify();
  });

  it('craft rebuild refuses a server that is none', async () => {
    const unknown = await craft('rebuild', 's9');
    expect(unknown).toMatchObject({ exitCode: 1, stdout: '' });
    expect(unknown.stderr).toBe('craft: UNAVAILABLE: no applier of a server s9 answers; those that do: s1, s2, s3\n');
    for (const wrong of ['*', '>', 's1.s2', ''])
      expect((await craft('rebuild', wrong)).stderr).toContain('is not a name of a server');
    expect((await craft('rebuild')).exitCode).toBe(2);
  });

  it('the TypeScript client writes through every group and gets typed results', async () => {
    for (const group of [0, 1, 2]) {
      const reply = await client.kv.put('typed', group, { group });
      expect(reply).toMatchObject({ group, result: { version: group + 1 } });
    }
    await expect(client.kv.put('typed', 0, { ifVersion: 9 })).rejects.toBeInstanceOf(RejectedError);
    expect((await client.kv.delete('typed')).result).toEqual({ deleted: true });
    const committed = await client.kv.put('typed', 1, { ack: 'committed' });
    const next = await client.kv.put('typed', 2);
    expect(next.timestamp).toBeGreaterThan(committed.timestamp);
    expect(next.result).toEqual({ version: 2 });
  });
});
