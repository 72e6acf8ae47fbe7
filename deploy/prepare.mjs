/**
 * Writes what the files of a deployment need besides themselves, once: the configuration of NATS, random passwords, and what has those in it.
 *
 *     node deploy/prepare.mjs compose|kubernetes [FOLDER]
 *
 * FOLDER is the folder `secrets` of that deployment unless given. It is for its owner alone. The files in it can be read by everyone, since the
 * users in containers have other numbers, and a container sees only the files that are mounted.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Names of the NATS nodes, the servers and their Postgres, and where those are reached. */
const DEPLOYMENTS = {
  compose: {
    secrets: 'deploy/compose/secrets',
    nodes: ['n1', 'n2', 'n3'],
    servers: ['s1', 's2', 's3'],
    databases: ['p1', 'p2', 'p3'],
    hostOf: (name) => name,
    next: 'docker compose -f deploy/compose/compose.yaml up --build --wait',
  },
  kubernetes: {
    secrets: 'deploy/kubernetes/example/secrets',
    nodes: ['nats-0', 'nats-1', 'nats-2'],
    servers: ['craft-0', 'craft-1', 'craft-2'],
    databases: ['postgres-0', 'postgres-1', 'postgres-2'],
    // Of a headless service: POD.SERVICE.
    hostOf: (name) => `${name}.${name.replace(/-\d+$/, '')}`,
    next: 'kubectl apply -k deploy/kubernetes/example',
  },
};

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function run(folder, ...given) {
  const { status } = spawnSync(process.execPath, given, { cwd: root, stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  // So that it can be tried again.
  rmSync(folder, { recursive: true });
  fail(`node ${given.join(' ')} failed`);
}

const [name = '', given] = process.argv.slice(2);
const deployment = Object.hasOwn(DEPLOYMENTS, name) ? DEPLOYMENTS[name] : undefined;
if (deployment === undefined) fail(`usage: prepare.mjs ${Object.keys(DEPLOYMENTS).join('|')} [FOLDER]`);
const { secrets, nodes, servers, databases, hostOf, next } = deployment;
const folder = given ?? join(root, secrets);

if (existsSync(folder)) {
  fail(`${folder} is there already. The volumes have its passwords: remove both for a new cluster.`);
}
mkdirSync(folder, { recursive: true, mode: 0o700 });
run(folder, 'deploy/package/built.mjs');
run(
  ...[folder, 'dist/services/cli/main.js', '--cluster', 'craft', 'nats-config', join(folder, 'nats')],
  ...['--nodes', nodes.map((node) => `${node}=${hostOf(node)}`).join(','), '--servers', servers.join(',')],
);

/** Letters and digits: it is part of an address. */
function password(of) {
  const text = randomBytes(24).toString('hex');
  writeFileSync(join(folder, `${of}.password`), text);
  return text;
}
for (const user of ['grafana', 'reader']) password(user);
for (const [at, database] of databases.entries()) {
  password(`${database}-admin`);
  const url = `postgres://craft:${password(`${database}-craft`)}@${hostOf(database)}:5432/craft`;
  writeFileSync(join(folder, `${servers[at]}.env`), `CRAFT_DATABASE_URL=${url}\n`);
}
copyFileSync(join(root, 'deploy/compose/database.sql'), join(folder, 'database.sql'));

for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  // Of the folders, only the outermost one keeps others out.
  chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
}
process.stdout.write(`${folder} is written. Now: ${next}\n`);
