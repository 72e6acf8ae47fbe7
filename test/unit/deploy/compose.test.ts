/** The compose file against the configuration that the services read, and the files that it names. It is not run here. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
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
        build: z.object({ context: z.string(), dockerfile: z.string() }).optional(),
        environment: z.record(z.string(), z.string()).default({}),
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

/** The names that the configuration asks for. */
function knownVariables(): Set<string> {
  const asked = new Set<string>();
  const environment = new Proxy(service('s1').environment, {
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
      const { environment } = service(server);
      const replica = replicaConfig(environment);
      expect(replica).toMatchObject({ server, servers: SERVERS, groups: 3 });
      expect(applierConfig(environment).databaseUrl).toMatch(new RegExp(`@postgres:5432/craft_${server}$`));
      for (const url of replica.natsUrl.split(',')) expect(NODES).toContain(/([^@/]+):4222$/.exec(url)?.[1]);
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
        if (source.startsWith('.')) expect(existsSync(resolve(folder, source)), `${name}: ${source}`).toBe(true);
        else expect(Object.keys(compose.volumes), name).toContain(source);
      }
    }
  });

  it('publishes no port twice', () => {
    const ports = Object.values(compose.services).flatMap((one) => one.ports.map((port) => port.split(':')[0]));
    expect(new Set(ports).size).toBe(ports.length);
  });

  it('sets every variable that the NATS configuration takes from its environment, and routes to every node', () => {
    const configuration = readFileSync(join(projectRoot(), 'deploy', 'nats', 'cluster-node.conf'), 'utf8');
    const code = configuration.replaceAll(/^\s*#.*$/gm, '');
    const taken = [...code.matchAll(/[:\s]\$([A-Z_]+)\b(?!\.)/g)].map((match) => match[1] ?? '');
    expect(taken).toContain('NATS_NAME');
    for (const node of NODES) {
      const { environment } = service(node);
      expect(taken.filter((name) => environment[name] === undefined)).toEqual([]);
      expect(environment['NATS_NAME']).toBe(node);
      for (const other of NODES) expect(environment['NATS_ROUTES']).toContain(`nats://${other}:6222`);
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
