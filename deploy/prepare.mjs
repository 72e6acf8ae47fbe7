/**
 * Writes what the files of a deployment need besides themselves, once: the configuration of NATS,
 * random passwords, and what has those in it.
 *
 *     node deploy/prepare.mjs compose|kubernetes [--again] [--clients LIST] [FOLDER]
 *
 * FOLDER is the folder `secrets` of that deployment unless given. It is for its owner alone. The
 * files in it can be read by everyone, since the users in containers have other numbers, and a
 * container sees only the files that are mounted.
 *
 * `--again` writes only the configuration of NATS again: for every server that has a file
 * SERVER.env in FOLDER, for the clients of the call before or those of `--clients`, and with the
 * passwords of `nats/passwords.json`. Variables of the shell change nothing in either case.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

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
    nextAgain: 'docker compose -f deploy/compose/compose.yaml restart n1 n2 n3',
  },
  kubernetes: {
    secrets: 'deploy/kubernetes/example/secrets',
    nodes: ['nats-0', 'nats-1', 'nats-2'],
    servers: ['craft-0', 'craft-1', 'craft-2'],
    databases: ['postgres-0', 'postgres-1', 'postgres-2'],
    // Of a headless service: POD.SERVICE.
    hostOf: (name) => `${name}.${name.replace(/-\d+$/, '')}`,
    next: 'kubectl apply -k deploy/kubernetes/example',
    nextAgain: 'kubectl apply -k deploy/kubernetes/example, then kubectl -n craft rollout restart statefulset/nats',
  },
};

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/**
 * Without the variables of craft that the shell has: they are of another cluster, or of another
 * user.
 */
const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CRAFT_')));

/** Runs a script of this project; says whether it did what it should. */
function run(...given) {
  const { status } = spawnSync(process.execPath, given, { cwd: root, env: environment, stdio: ['ignore', 2, 2] });
  return status === 0;
}

function usage() {
  fail(`usage: prepare.mjs ${Object.keys(DEPLOYMENTS).join('|')} [--again] [--clients LIST] [FOLDER]`);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { again: { type: 'boolean', default: false }, clients: { type: 'string' } },
    });
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    return usage();
  }
}

const { values, positionals } = readArguments();
const [name = '', given, ...more] = positionals;
const deployment = Object.hasOwn(DEPLOYMENTS, name) ? DEPLOYMENTS[name] : undefined;
if (deployment === undefined || more.length > 0) usage();
const { secrets, nodes, databases, hostOf } = deployment;
const folder = given === undefined ? join(root, secrets) : resolve(given);

/** The configuration of NATS in FOLDER. */
function writeNats(servers, clients, ...options) {
  return run(
    ...['dist/services/cli/main.js', '--cluster', 'craft', 'nats-config', join(folder, 'nats'), ...options],
    ...['--nodes', nodes.map((node) => `${node}=${hostOf(node)}`).join(','), '--servers', servers.join(',')],
    ...(clients === undefined ? [] : ['--clients', clients]),
  );
}

function makeReadable() {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    // Of the folders, only the outermost one keeps others out.
    chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
  }
}

/** Names of the files NAME.env of a folder, as people count. */
function variablesIn(path) {
  const names = readdirSync(path).filter((file) => file.endsWith('.env'));
  return names.map((file) => file.slice(0, -'.env'.length)).sort(new Intl.Collator('en', { numeric: true }).compare);
}

/** Users that every cluster has. */
const FIXED_USERS = ['services', 'operator', 'reader', 'system'];

if (values.again) {
  if (!existsSync(join(folder, 'nats', 'passwords.json'))) fail(`${folder} is not there yet: leave --again out`);
  const clients = variablesIn(join(folder, 'nats')).filter((user) => !FIXED_USERS.includes(user));
  if (
    !run('deploy/package/built.mjs') ||
    !writeNats(variablesIn(folder), values.clients ?? clients.join(','), '--force')
  ) {
    fail('the configuration of NATS was not written');
  }
  makeReadable();
  process.stdout.write(`${join(folder, 'nats')} is written again. Now: ${deployment.nextAgain}\n`);
  process.exit();
}

const { servers } = deployment;
if (existsSync(folder)) {
  fail(`${folder} exists already. The volumes have its passwords: remove both for a new cluster.`);
}
mkdirSync(folder, { recursive: true, mode: 0o700 });
if (!run('deploy/package/built.mjs') || !writeNats(servers, values.clients)) {
  // So that it can be tried again.
  rmSync(folder, { recursive: true });
  fail('the configuration of NATS was not written');
}

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

makeReadable();
process.stdout.write(`${folder} is written. Now: ${deployment.next}\n`);
