/**
 * The compose file against the configuration that the services read, the files that it names, and
 * what deploy/prepare.mjs writes. It is not run here; its image is built and started by
 * test/integration/image.test.ts.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cp, readdir, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
import { applierConfig, replicaConfig } from '../../../shared/config/config.js';
import { type TemporaryFolder, temporaryFolder } from '../../harness/folder.js';
import { knownVariables, variablesOf } from './variables.js';

const folder = join(projectRoot(), 'deploy', 'compose');
const text = readFileSync(join(folder, 'compose.yaml'), 'utf8');
const list = z.array(z.string());
const secretMount = z.union([
  z.string().transform((source) => ({ source, target: source })),
  z.strictObject({ source: z.string(), target: z.string() }),
]);
const service = z.strictObject({
  image: z.string(),
  command: list.default([]),
  entrypoint: list.optional(),
  build: z.strictObject({ context: z.string(), dockerfile: z.string() }).optional(),
  pull_policy: z.literal('never').optional(),
  environment: z.record(z.string(), z.string()).default({}),
  depends_on: z.record(z.string(), z.strictObject({ condition: z.literal('service_healthy') })).default({}),
  healthcheck: z
    .union([
      z.strictObject({ test: list, interval: z.string(), retries: z.number() }),
      z.strictObject({ disable: z.boolean() }),
    ])
    .optional(),
  secrets: z.array(secretMount).default([]),
  volumes: list.default([]),
  ports: list.default([]),
  profiles: list.default([]),
  restart: z.string(),
  cap_drop: list.default([]),
  security_opt: list.default([]),
  read_only: z.boolean().default(false),
  tmpfs: list.default([]),
  stop_grace_period: z.string().optional(),
});
const compose = z
  .looseObject({
    services: z.record(z.string(), service),
    volumes: z.record(z.string(), z.strictObject({})),
    secrets: z.record(z.string(), z.strictObject({ file: z.string() })),
  })
  .parse(parse(text, { merge: true }));

const NODES = ['n1', 'n2', 'n3'];
const DATABASES = ['p1', 'p2', 'p3'];
const SERVERS = ['s1', 's2', 's3'];
const all = Object.entries(compose.services);

function get(name: string) {
  const found = compose.services[name];
  if (found === undefined) throw new Error(`no service ${name}`);
  return found;
}

/** What prepare.mjs has written, in place of the folder `secrets`. */
let secrets: TemporaryFolder;
const prepare = (where: string, ...given: string[]) =>
  promisify(execFile)(process.execPath, [join(projectRoot(), 'deploy/prepare.mjs'), 'compose', where, ...given], {
    cwd: secrets.path,
    // Of another cluster: nothing of it may get into the files.
    env: { ...process.env, CRAFT_SERVICES_PASSWORD: 'of another cluster', CRAFT_NATS_PORT: '1', CRAFT_SERVERS: 'x' },
  });

beforeAll(async () => {
  secrets = await temporaryFolder('compose');
  // A path of the folder in which it is called.
  await prepare('secrets');
}, 60_000);
afterAll(() => secrets?.remove());

/** The file of a secret, where a service sees it. */
function secretOf(name: string, target: string): string {
  const mount = get(name).secrets.find((one) => one.target === target);
  const file = compose.secrets[mount?.source ?? '']?.file;
  if (file === undefined) throw new Error(`${name} has no secret ${target}`);
  return readFileSync(join(secrets.path, file), 'utf8');
}

/**
 * What a process sees: its image's variables, those of compose, and those of the files that its
 * entry point reads.
 */
function environmentOf(name: string): Record<string, string> {
  return {
    ...variablesOf(secretOf(name, 'nats.env')),
    ...variablesOf(secretOf(name, 'server.env')),
    ...get(name).environment,
  };
}

describe('deploy/compose', () => {
  it('has three NATS nodes, three servers with a Postgres each, and what shows how they are', () => {
    const others = ['craft', 'grafana', 'jaeger', 'prometheus'];
    expect(Object.keys(compose.services).sort()).toEqual([...NODES, ...DATABASES, ...SERVERS, ...others].sort());
  });

  it('names images by version, to the last number', () => {
    const dockerfile = readFileSync(join(folder, 'Dockerfile'), 'utf8');
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image = '']) => image);
    expect(bases).toHaveLength(2);
    const others = all.map(([, { image }]) => image).filter((image) => image !== 'craft');
    for (const image of [...bases, ...others]) expect(image).toMatch(/:v?\d+\.\d+(\.\d+)?(-slim|-alpine)?$/);
  });

  it('starts after services that exist and that say when they are healthy', () => {
    for (const [at, server] of SERVERS.entries()) {
      expect(Object.keys(get(server).depends_on).sort()).toEqual([...NODES, DATABASES[at]].sort());
    }
    for (const [name, { depends_on }] of all) {
      for (const other of Object.keys(depends_on)) expect(get(other).healthcheck, `${name}: ${other}`).toBeDefined();
    }
  });

  it('gives every server an environment that the services accept, and no variable that they do not know', () => {
    const known = knownVariables();
    for (const [at, server] of SERVERS.entries()) {
      const environment = environmentOf(server);
      const replica = replicaConfig(environment);
      expect(replica).toMatchObject({ server, servers: SERVERS, groups: 3, registryReplicas: 3, cluster: 'craft' });
      const url = new URL(applierConfig(environment).databaseUrl);
      expect([url.hostname, url.username, url.pathname]).toEqual([DATABASES[at], 'craft', '/craft']);
      expect(url.password).toBe(secretOf(DATABASES[at] ?? '', 'craft.password'));
      expect(replica.natsUrl.split(',').map((one) => /@([^@/]+):4222$/.exec(one)?.[1])).toEqual(NODES);
      expect(replica.natsInboxPrefix).toBe('_INBOX_services');
      const own = Object.keys(environment).filter((name) => !name.startsWith('OTEL_'));
      expect(own.filter((name) => !known.has(name))).toEqual([]);
    }
    expect(new URL(get('s1').environment['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? '').hostname).toBe('jaeger');
  });

  it('has secrets in files only, which exist, are all used, and lie in a folder of their owner', async () => {
    const used = new Set(all.flatMap(([, { secrets: mounts }]) => mounts.map(({ source }) => source)));
    expect([...used].sort()).toEqual(Object.keys(compose.secrets).sort());
    for (const { file } of Object.values(compose.secrets)) {
      expect((await stat(join(secrets.path, file))).mode & 0o777, file).toBe(0o644);
    }
    expect((await stat(join(secrets.path, 'secrets'))).mode & 0o777).toBe(0o700);
    const values = Object.values(compose.secrets).map(({ file }) => readFileSync(join(secrets.path, file), 'utf8'));
    const passwords = values.filter((value) => /^[0-9a-f]+$/.test(value));
    expect(new Set(passwords).size).toBe(8);
    for (const [name, { environment }] of all) {
      for (const [variable, value] of Object.entries(environment)) {
        if (/PASSWORD|SECRET|TOKEN/.test(variable)) expect(value, name).toMatch(/^\/run\/secrets\//);
        expect(value, name).not.toMatch(/:\/\/[^/]*@/);
      }
    }
    const ignored = readFileSync(join(projectRoot(), '.gitignore'), 'utf8').split('\n');
    expect(ignored).toContain('deploy/compose/secrets/');
  });

  it('prepares nothing twice', async () => {
    const folder = join(secrets.path, 'secrets');
    const before = await readdir(folder, { recursive: true });
    await expect(prepare(folder)).rejects.toThrow('exists already');
    expect(await readdir(folder, { recursive: true })).toEqual(before);
  });

  it('writes the configuration of NATS again: with a new server, a new client and a new password', async () => {
    const folder = join(secrets.path, 'again');
    await expect(prepare(folder, '--again')).rejects.toThrow('leave --again out');
    await cp(join(secrets.path, 'secrets'), folder, { recursive: true });
    const read = (name: string) => readFileSync(join(folder, name), 'utf8');
    const before = { client: read('nats/client.env'), operator: read('nats/operator.env'), s1: read('s1.env') };
    await writeFile(join(folder, 's4.env'), 'CRAFT_JOIN=true\n', { mode: 0o600 });
    const { operator: _, ...kept } = JSON.parse(read('nats/passwords.json'));
    await writeFile(join(folder, 'nats/passwords.json'), JSON.stringify(kept));
    await prepare(folder, '--again', '--clients', 'client,web');
    await prepare(folder, '--again');
    for (const node of NODES) {
      for (const server of [...SERVERS, 's4'])
        expect(read(`nats/${node}.conf`)).toContain(`DIRECT.GET.CRAFT_LOG_${server}"`);
      expect(read(`nats/${node}.conf`)).toContain('CLIENT_web');
    }
    expect({ client: read('nats/client.env'), s1: read('s1.env') }).toEqual({ client: before.client, s1: before.s1 });
    expect(read('nats/operator.env')).not.toBe(before.operator);
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      const { mode } = await stat(join(entry.parentPath, entry.name));
      expect(mode & 0o777, entry.name).toBe(entry.isDirectory() ? 0o755 : 0o644);
    }
  });

  it('finds every path of a program among what is mounted', () => {
    for (const [name, { command, entrypoint = [], environment, secrets: mounts, volumes }] of all) {
      const paths = [...command, ...entrypoint, ...Object.values(environment)]
        .map((argument) => /(?:^|=)(\/[\w./-]+)$/.exec(argument)?.[1])
        .filter((path) => path !== undefined);
      const seen = [
        ...mounts.map(({ target }) => `/run/secrets/${target}`),
        ...volumes.map((volume) => volume.split(':')[1] ?? ''),
      ];
      for (const path of paths) expect(seen, `${name}: ${path}`).toContain(path);
    }
    expect(get('n1').command).toContain('/run/secrets/nats.conf');
    const script = readFileSync(join(folder, 'database.sql'), 'utf8');
    const read = [...script.matchAll(/`cat \/run\/secrets\/(\S+)`/g)].map(([, file]) => file);
    for (const database of DATABASES) {
      const targets = get(database).secrets.map(({ target }) => target);
      expect(targets.sort(), database).toEqual([...read, 'admin.password'].sort());
    }
  });

  it('mounts files that exist and volumes that are declared', () => {
    const named = new Set<string>();
    for (const [name, { volumes }] of all) {
      for (const volume of volumes) {
        const [source = ''] = volume.split(':');
        if (source.startsWith('.')) expect(existsSync(resolve(folder, source)), `${name}: ${source}`).toBe(true);
        else named.add(source);
      }
    }
    expect([...named].sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  it('publishes no port twice, and all of them on this machine only', () => {
    const ports = all.flatMap(([, one]) => one.ports);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    const outside = ports.map((port) => port.split(':')[1]);
    expect(new Set(outside).size).toBe(outside.length);
  });

  it('starts each node with the file that is written for it', () => {
    for (const node of NODES) {
      const file = secretOf(node, 'nats.conf');
      expect(file).toContain(`server_name: "${node}"`);
      expect(get(node).volumes).toContain(`${node}:${/store_dir: "([^"]+)"/.exec(file)?.[1]}`);
      expect(get(node).healthcheck).toMatchObject({
        test: expect.arrayContaining([`http://${/^http: "([^"]+)"$/m.exec(file)?.[1]}/healthz`]),
      });
    }
  });

  it('takes rights away from every container that can do without them', () => {
    for (const [name, { cap_drop, security_opt }] of all.filter(([one]) => !DATABASES.includes(one))) {
      expect([cap_drop, security_opt], name).toEqual([['ALL'], ['no-new-privileges:true']]);
    }
    for (const server of SERVERS) expect(get(server).read_only).toBe(true);
  });

  it('scrapes every server where its metrics are, and shows the alerts and the dashboard of this project', () => {
    const read = (path: string) => readFileSync(join(folder, path), 'utf8');
    const port = /CRAFT_METRICS_PORT=(\d+)/.exec(read('Dockerfile'))?.[1];
    const scraping = z
      .looseObject({
        rule_files: list,
        scrape_configs: z.array(
          z.strictObject({ job_name: z.string(), static_configs: z.array(z.strictObject({ targets: list })) }),
        ),
      })
      .parse(parse(read('prometheus.yaml')));
    expect(scraping.scrape_configs).toEqual([
      { job_name: 'craft', static_configs: [{ targets: SERVERS.map((server) => `${server}:${port}`) }] },
    ]);
    const mounted = (name: string) =>
      new Map(get(name).volumes.map((one) => one.split(':').slice(0, 2).reverse() as [string, string]));
    for (const file of scraping.rule_files) expect(mounted('prometheus').get(file)).toBe('../prometheus/alerts.yaml');

    const urls = z
      .looseObject({ datasources: z.array(z.looseObject({ url: z.url() })) })
      .parse(parse(read('grafana/datasources.yaml')))
      .datasources.map(({ url }) => new URL(url).hostname);
    for (const host of urls) expect(Object.keys(compose.services)).toContain(host);
    const { providers } = z
      .looseObject({ providers: z.array(z.looseObject({ options: z.strictObject({ path: z.string() }) })) })
      .parse(parse(read('grafana/dashboards.yaml')));
    for (const { options } of providers) {
      expect(mounted('grafana').get(`${options.path}/craft.json`)).toBe('../grafana/craft.json');
    }
  });

  it('builds an image from this project once, pulls it nowhere, and runs the command line from it', () => {
    const built = all.filter(([, { build }]) => build !== undefined);
    expect(built.map(([name]) => name)).toEqual(['s1']);
    const { build } = get('s1');
    expect(resolve(folder, build?.context ?? '')).toBe(projectRoot());
    expect(join(projectRoot(), build?.dockerfile ?? '')).toBe(join(folder, 'Dockerfile'));
    for (const name of [...SERVERS, 'craft']) {
      expect(get(name), name).toMatchObject({ image: 'craft', pull_policy: 'never' });
    }
    const { image, entrypoint = [] } = get('craft');
    expect(image).toBe(get('s1').image);
    expect(entrypoint).toEqual(['craft']);
    const dockerfile = readFileSync(join(folder, 'Dockerfile'), 'utf8');
    expect(dockerfile).toContain('\nCOPY deploy/compose/craft /usr/local/bin/\n');
    // craft doctor in the container of a server sees what the services see.
    const filesOf = (text: string) => [...text.matchAll(/--env-file-if-exists=(\/[\w./-]+)/g)].map(([, file]) => file);
    const script = readFileSync(join(folder, 'craft'), 'utf8');
    expect(filesOf(script)).toEqual(filesOf(dockerfile));
    expect(filesOf(script)).toContain('/run/secrets/server.env');
    expect(variablesOf(secretOf('craft', 'nats.env'))['CRAFT_NATS_INBOX_PREFIX']).toBe('_INBOX_operator');
  });

  it('names the commands of the guide in its head', () => {
    const commands = [...text.matchAll(/^# {3}(.+)$/gm)].map(([, command]) => command);
    expect(commands.length).toBe(3);
    const guide = readFileSync(join(projectRoot(), 'deploy/README.md'), 'utf8');
    for (const command of commands) expect(guide).toContain(`\n${command}\n`);
  });
});
