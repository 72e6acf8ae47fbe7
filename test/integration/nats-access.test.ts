/**
 * Each way to be let in by a real NATS server, for services, the command line and the client. Each
 * wrong one is told within five seconds with what to do, while services go on trying.
 */
import { execFile, spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { connect, type NatsConnection, nkeys } from 'nats';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ManagedProcess } from '../../deploy/local/managed-process.js';
import { projectRoot, servicesProgram } from '../../deploy/local/project.js';
import { findNatsServer } from '../../deploy/local/tools/nats-server.js';
import { writeNatsFiles } from '../../services/cli/nats-files.js';
import { connectCraft } from '../../shared/client/index.js';
import { accessOptions, type NatsAccess } from '../../shared/wire/access.js';
import { connectNats, type NatsOptions } from '../../shared/wire/connection.js';
import { authority, stranger } from '../harness/certificates.js';
import { eventually, freePorts, type TemporaryFolder, temporaryFolder } from '../harness/index.js';

const PASSWORD = 'pass word';
const TOKEN = 'a-token-of-32-characters-or-so-00';
const MISTAKE = 'letmein';
const TOLD_MS_MAX = 5_000;

let folder: TemporaryFolder;
const servers: ManagedProcess[] = [];
/** Takes connections, and says nothing. */
let silent: Server;
const ports = { tls: 0, token: 0, nkey: 0, silent: 0, closed: 0 };
const file = (name: string) => join(folder.path, name);
const at = (port: number, user = '') => `nats://${user}127.0.0.1:${port}`;
const tlsUrl = (password = PASSWORD) => at(ports.tls, `ann:${encodeURIComponent(password)}@`);

beforeAll(async () => {
  folder = await temporaryFolder('access');
  [ports.tls = 0, ports.token = 0, ports.nkey = 0, ports.closed = 0] = await freePorts(4);
  await writeCertificates();
  const user = nkeys.createUser();
  await writeFile(file('user.nk'), `# a user\n${new TextDecoder().decode(user.getSeed())}\n`);
  const tls = `cert_file: "${file('server.pem')}", key_file: "${file('server.key')}", ca_file: "${file('ca.pem')}"`;
  await Promise.all([
    startNats(ports.tls, `tls { ${tls}, verify: true }\nauthorization { user: ann, password: "${PASSWORD}" }`),
    startNats(ports.token, `authorization { token: "${TOKEN}" }`),
    startNats(ports.nkey, `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }`),
  ]);
  silent = createServer().listen(0, '127.0.0.1');
  await eventually('the port of the silent server', () => silent.address() !== null);
  ports.silent = (silent.address() as { port: number }).port;
});
afterAll(async () => {
  silent?.close();
  await Promise.all(servers.map((server) => server.stop()));
  await folder?.remove();
});

async function startNats(port: number, access: string): Promise<void> {
  await startNatsWith(port, `listen: "127.0.0.1:${port}"\n${access}\n`);
}

async function startNatsWith(port: number, text: string): Promise<void> {
  const config = file(`${port}.conf`);
  await writeFile(config, text);
  const { path } = await findNatsServer();
  const server = await ManagedProcess.start({
    ...{ name: `nats ${port}`, command: path, args: ['--config', config], logFile: file(`${port}.log`) },
    ...{ stopSignal: 'SIGTERM', stopTimeoutMs: 10_000 },
  });
  servers.push(server);
  const isOpen = () =>
    connect({ servers: `127.0.0.1:${port}`, timeout: 500, reconnect: false }).then(
      (one) => one.close().then(() => true),
      (error: Error) => !error.message.includes('refused'),
    );
  await eventually('a NATS server', isOpen);
}

/** An authority, certificates of it for a server and a client, and one that is of no authority. */
async function writeCertificates(): Promise<void> {
  // The first is what the NATS client looks for when the address is one of this machine.
  const ca = await authority([
    { type: 2, value: 'localhost' },
    { type: 7, ip: '127.0.0.1' },
  ]);
  const all = { server: await ca.sign('server'), client: await ca.sign('client'), other: await stranger() };
  await writeFile(file('ca.pem'), ca.cert);
  for (const [name, { cert, private: key }] of Object.entries(all)) {
    await writeFile(file(`${name}.pem`), cert);
    await writeFile(file(`${name}.key`), key);
  }
}

const certificates = (): NatsAccess => ({
  natsTlsCa: file('ca.pem'),
  natsTlsCert: file('client.pem'),
  natsTlsKey: file('client.key'),
});

async function isLetIn(options: NatsOptions): Promise<boolean> {
  const connection = await connectNats(options, 'test');
  await connection.flush();
  await connection.close();
  return true;
}

it('a service is let in by certificates and password, by a token, and by an NKey', async () => {
  expect(await isLetIn({ natsUrl: tlsUrl(), ...certificates() })).toBe(true);
  expect(await isLetIn({ natsUrl: at(ports.token), natsToken: TOKEN })).toBe(true);
  expect(await isLetIn({ natsUrl: at(ports.nkey), natsNkey: file('user.nk') })).toBe(true);
});

it('the client and the command line are, too', async () => {
  const craft = await connectCraft({
    servers: tlsUrl(),
    nats: await accessOptions(certificates(), []),
    timeoutMs: 1_000,
  });
  expect(await craft.status()).toEqual([]);
  await craft.close();
  const program = join(projectRoot(), 'dist/services/cli/main.js');
  const run = (env: NodeJS.ProcessEnv, ...given: string[]) =>
    promisify(execFile)(process.execPath, [program, ...given, 'status'], { env: { ...process.env, ...env } }).catch(
      (error: { stdout: string }) => error,
    );
  const options = ['--tls-ca', file('ca.pem'), '--tls-cert', file('client.pem'), '--tls-key', file('client.key')];
  const noServer = /^not serving: no server answers/;
  expect((await run({}, '--nats', tlsUrl(), ...options)).stdout).toMatch(noServer);
  expect((await run({ CRAFT_NATS_TOKEN: TOKEN }, '--nats', at(ports.token))).stdout).toMatch(noServer);
  expect((await run({ CRAFT_NATS_NKEY: file('user.nk') }, '--nats', at(ports.nkey))).stdout).toMatch(noServer);
  const wrong = await run({}, '--nats', tlsUrl(MISTAKE), ...options);
  expect(wrong.stdout).toContain('NATS refuses these credentials');
  expect(wrong.stdout).not.toContain(MISTAKE);
});

it('craft nats-config writes TLS for clients and for routes, and no route without the password', async () => {
  const ports = await freePorts(9);
  const [first = 0] = ports;
  const tls = { cert: file('server.pem'), key: file('server.key'), ca: file('ca.pem'), verifyClients: true };
  const start = async (name: string, routesPassword: string) => {
    const [port = 0, routePort = 0, monitorPort = 0] = ports.splice(0, 3);
    const folder = file(`written-${name}`);
    await writeNatsFiles({
      ...{ folder, force: false },
      environment: { CRAFT_ROUTES_PASSWORD: routesPassword, CRAFT_CLIENT_PASSWORD: PASSWORD },
      config: {
        ...{
          cluster: 'craft',
          servers: ['s1'],
          clients: ['client'],
          listen: '127.0.0.1',
          port,
          routePort,
          monitorPort,
        },
        ...{
          storeDir: `${folder}/data`,
          tls,
          nodes: ['n1', 'n2', 'n3'].map((one) => ({ name: one, host: '127.0.0.1' })),
        },
      },
    });
    const text = (await readFile(`${folder}/${name}.conf`, 'utf8'))
      // All are on one machine: each has ports of its own, and knows those of the first.
      .replaceAll(`@127.0.0.1:${routePort}`, `@127.0.0.1:${firstRoute || routePort}`)
      // Two nodes elect no leader.
      .replace(/^jetstream .*$/m, '')
      .replace('jetstream: enabled', '');
    firstRoute ||= routePort;
    await startNatsWith(port, text);
    return { port, monitorPort };
  };
  let firstRoute = 0;
  const routesOf = async ({ monitorPort }: { monitorPort: number }) => {
    const about = await (await fetch(`http://127.0.0.1:${monitorPort}/routez`)).json();
    return [...new Set((about as { routes: { remote_name: string }[] }).routes.map((one) => one.remote_name))];
  };
  const n1 = await start('n1', 'a "b"; $x');
  const n2 = await start('n2', 'a "b"; $x');
  await eventually('a route', async () => (await routesOf(n1)).includes('n2'));
  expect(await routesOf(n2)).toEqual(['n1']);
  await start('n3', MISTAKE);
  await eventually('a refusal', async () => /authentication error/.test(await readFile(file(`${first}.log`), 'utf8')));
  expect(await routesOf(n1)).toEqual(['n2']);
  const url = at(n2.port, `client:${encodeURIComponent(PASSWORD)}@`);
  expect(await isLetIn({ natsUrl: url, ...certificates() })).toBe(true);
  await expect(connect({ servers: url, reconnect: false })).rejects.toThrow();
});

interface Wrong {
  readonly what: string;
  readonly options: () => NatsOptions;
  readonly told: RegExp;
}

const WRONG: readonly Wrong[] = [
  {
    what: 'a wrong password',
    options: () => ({ natsUrl: tlsUrl(MISTAKE), ...certificates() }),
    told: /refuses these credentials/,
  },
  {
    what: 'a wrong token',
    options: () => ({ natsUrl: at(ports.token), natsToken: MISTAKE }),
    told: /refuses these credentials/,
  },
  {
    what: 'no NKey where one is wanted',
    options: () => ({ natsUrl: at(ports.nkey) }),
    told: /refuses these credentials/,
  },
  { what: 'an unknown authority', options: () => ({ natsUrl: tlsUrl() }), told: /set CRAFT_NATS_TLS_CA/ },
  {
    what: 'another authority',
    options: () => ({ natsUrl: tlsUrl(), ...certificates(), natsTlsCa: file('other.pem') }),
    told: /set CRAFT_NATS_TLS_CA/,
  },
  {
    what: 'no certificate',
    options: () => ({ natsUrl: tlsUrl(), natsTlsCa: file('ca.pem') }),
    told: /CRAFT_NATS_TLS_CERT/,
  },
  {
    what: 'a certificate of another authority',
    options: () => ({
      ...{ natsUrl: tlsUrl(), natsTlsCa: file('ca.pem') },
      ...{ natsTlsCert: file('other.pem'), natsTlsKey: file('other.key') },
    }),
    told: /CRAFT_NATS_TLS_CERT/,
  },
  {
    what: 'TLS where there is none',
    options: () => ({ natsUrl: at(ports.token), natsToken: TOKEN, ...certificates() }),
    told: /NATS offers no TLS/,
  },
  { what: 'a file that is not there', options: () => ({ natsUrl: tlsUrl(), natsCreds: file('none') }), told: /none/ },
  { what: 'nobody at the port', options: () => ({ natsUrl: at(ports.closed) }), told: /NATS does not run there/ },
  { what: 'a port that is silent', options: () => ({ natsUrl: at(ports.silent) }), told: /NATS does not answer/ },
];

it.concurrent.each(WRONG)('$what is told within five seconds, without secrets', async ({ options, told }) => {
  const startMs = performance.now();
  const ended = new AbortController();
  let connection: NatsConnection | undefined;
  const why = await new Promise<string>((resolve) => {
    connectNats(options(), 'test', { signal: ended.signal, onTrouble: resolve }).then(
      (one) => {
        connection = one;
        resolve('it was let in');
      },
      // Refused: the service that asked fails, says why, and is started again.
      (error: Error) => resolve(error.message),
    );
  });
  ended.abort();
  await connection?.close();
  expect(why).toMatch(told);
  expect(why).not.toMatch(new RegExp(`${TOKEN}|${PASSWORD}|${MISTAKE}`));
  expect(performance.now() - startMs).toBeLessThan(TOLD_MS_MAX);
});

it('a service says so in its log, goes on trying, and is there when NATS is', async () => {
  const env = {
    ...{ CRAFT_SERVER: 's1', CRAFT_SERVERS: 's1', CRAFT_GROUPS: '1', CRAFT_DATA_DIR: file('data') },
    CRAFT_NATS_URL: at(ports.closed),
  };
  const child = spawn(process.execPath, [servicesProgram(), 'merger'], { env: { ...process.env, ...env } });
  let log = '';
  child.stdout.on('data', (chunk: Buffer) => (log += chunk.toString()));
  try {
    await eventually('a line about NATS', () => /NATS cannot be reached.*NATS does not run there/.test(log), {
      timeoutMs: TOLD_MS_MAX,
    });
    await startNats(ports.closed, `jetstream { store_dir: "${file('jetstream')}" }`);
    await eventually('the merger at work', () => log.includes('"msg":"merging"'), { timeoutMs: 20_000 });
  } finally {
    child.kill('SIGKILL');
  }
});
