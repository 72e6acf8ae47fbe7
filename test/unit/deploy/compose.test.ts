/** The compose file against the configuration that the services read, and the files that it names. It is not run here. */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
import { FIXED_USERS, type NatsConfig, userEnvironment } from '../../../services/cli/nats-config.js';
import { applierConfig, replicaConfig } from '../../../shared/config/config.js';

const folder = join(projectRoot(), 'deploy', 'compose');
const text = readFileSync(join(folder, 'compose.yaml'), 'utf8');
// What compose itself puts in when the variables are not set.
const interpolated = text.replaceAll(/\$\{[A-Z_]+:-([^}]*)\}/g, '$1');

const compose = z
  .object({
    services: z.record(
      z.string(),
      z.object({
        image: z.string(),
        command: z.array(z.string()).default([]),
        build: z.object({ context: z.string(), dockerfile: z.string() }).optional(),
        environment: z.record(z.string(), z.string()).default({}),
        env_file: z.string().optional(),
        depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
        healthcheck: z.object({ test: z.array(z.string()) }).optional(),
        volumes: z.array(z.string()).default([]),
        ports: z.array(z.string()).default([]),
      }),
    ),
    volumes: z.record(z.string(), z.object({})),
  })
  .parse(parse(interpolated, { merge: true }));

const NODES = ['n1', 'n2', 'n3'];
const SERVERS = ['s1', 's2', 's3'];

function service(name: string) {
  const found = compose.services[name];
  if (found === undefined) throw new Error(`no service ${name}`);
  return found;
}

/** As the command in the head of the compose file says it. */
const [, given = ''] = /nats-config deploy\/compose\/nats --nodes (\S+)/.exec(text) ?? [];
const nats: NatsConfig = {
  ...{ cluster: 'craft', servers: SERVERS, clients: ['client'], listen: '0.0.0.0', port: 4222, routePort: 6222 },
  ...{ monitorPort: 8222, storeDir: '/data', tls: undefined, hashes: {}, routesPassword: '' },
  nodes: given.split(',').map((name) => ({ name, host: name })),
};

/** What is written for the nodes and the users. */
const WRITTEN = new Set([
  ...nats.nodes.map(({ name }) => `./nats/${name}.conf`),
  ...[...FIXED_USERS, ...nats.clients].map((user) => `nats/${user}.env`),
]);

/** What compose gives to a service: of its file, and what stands there. */
function environmentOf(name: string): Record<string, string> {
  const { env_file: file, environment } = service(name);
  if (file === undefined) return environment;
  expect(WRITTEN).toContain(file);
  const text = userEnvironment(nats, basename(file, '.env'), 'of services');
  const lines = text.trimEnd().split('\n');
  return { ...Object.fromEntries(lines.map((line) => line.split(/=(.*)/).slice(0, 2))), ...environment };
}

/** The names that the configuration asks for. */
function knownVariables(): Set<string> {
  const asked = new Set<string>();
  const environment = new Proxy(environmentOf('s1'), {
    get: (target, name: string) => {
      asked.add(name);
      return target[name];
    },
  });
  replicaConfig(environment);
  applierConfig(environment);
  return asked;
}

describe('deploy/compose', () => {
  it('has three NATS nodes, three servers, Postgres and Jaeger', () => {
    expect(Object.keys(compose.services).sort()).toEqual([...NODES, ...SERVERS, 'postgres', 'jaeger'].sort());
  });

  it('starts after services that exist and that say when they are healthy', () => {
    for (const server of SERVERS) {
      expect(Object.keys(service(server).depends_on).sort()).toEqual([...NODES, 'postgres'].sort());
    }
    for (const { depends_on } of Object.values(compose.services)) {
      for (const [name, { condition }] of Object.entries(depends_on)) {
        expect(service(name).healthcheck, name).toBeDefined();
        expect(condition).toBe('service_healthy');
      }
    }
  });

  it('gives every server an environment that the services accept, and no variable that they do not know', () => {
    const known = knownVariables();
    for (const server of SERVERS) {
      const environment = environmentOf(server);
      const replica = replicaConfig(environment);
      expect(replica).toMatchObject({ server, servers: SERVERS, groups: 3 });
      expect(applierConfig(environment).databaseUrl).toMatch(new RegExp(`@postgres:5432/craft_${server}$`));
      expect(replica.natsUrl.split(',').map((url) => /@([^@/]+):4222$/.exec(url)?.[1])).toEqual(NODES);
      expect(replica.natsInboxPrefix).toBe('_INBOX_services');
      const own = Object.keys(environment).filter((name) => !name.startsWith('OTEL_'));
      expect(own.filter((name) => !known.has(name))).toEqual([]);
    }
    expect(new URL(service('s1').environment['OTEL_EXPORTER_OTLP_ENDPOINT'] ?? '').hostname).toBe('jaeger');
  });

  it('makes a database for every server', () => {
    const { POSTGRES_DB: first } = service('postgres').environment;
    const script = readFileSync(join(folder, 'databases.sql'), 'utf8');
    const made = [...script.matchAll(/CREATE DATABASE (\w+);/g)].map((match) => match[1]);
    expect([first, ...made].sort()).toEqual(SERVERS.map((server) => `craft_${server}`));
  });

  it('mounts files that exist and volumes that are declared', () => {
    for (const [name, { volumes }] of Object.entries(compose.services)) {
      for (const volume of volumes) {
        const source = volume.split(':')[0] ?? '';
        if (source.startsWith('./nats/')) expect(WRITTEN).toContain(source);
        else if (source.startsWith('.')) expect(existsSync(resolve(folder, source)), `${name}: ${source}`).toBe(true);
        else expect(Object.keys(compose.volumes), name).toContain(source);
      }
    }
  });

  it('publishes no port twice', () => {
    const ports = Object.values(compose.services).flatMap((one) => one.ports.map((port) => port.split(':').at(-2)));
    expect(new Set(ports).size).toBe(ports.length);
  });

  it('starts each node with the file that is written for it', () => {
    expect(nats.nodes.map(({ name }) => name)).toEqual(NODES);
    for (const node of NODES) {
      const [file = ''] = service(node).volumes;
      expect(file).toBe(`./nats/${node}.conf:/etc/nats/node.conf:ro`);
      expect(service(node).command).toEqual(['--config', '/etc/nats/node.conf']);
      expect(service(node).volumes).toContain(`${node}:${nats.storeDir}`);
    }
  });

  it('builds an image from files that exist', () => {
    const { build } = service('s1');
    const context = resolve(folder, build?.context ?? '');
    expect(context).toBe(projectRoot());
    const dockerfile = readFileSync(join(context, build?.dockerfile ?? ''), 'utf8');
    const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.+)$/gm)].map((match) => (match[1] ?? '').split(' '));
    expect(copies.length).toBeGreaterThan(3);
    for (const paths of copies) {
      for (const source of paths.slice(0, -1)) expect(existsSync(join(context, source)), source).toBe(true);
    }
  });
});
