/** `craft nats-config`. */
import { isIP } from 'node:net';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { examples, integer, print } from '../kit.js';
import {
  FIXED_USERS,
  GATEWAY_PORT,
  type NatsConfig,
  type NatsNode,
  type NatsSite,
  type NatsTls,
  ROUTES_USER,
} from '../nats-config.js';
import { NatsConfigError, writeNatsFiles } from '../nats-files.js';
import type { GlobalOptions } from '../session.js';

/**
 * Of a cluster, a server, a node and a user: it is a part of subjects, of variables and of file
 * names.
 */
const NAME = /^[A-Za-z0-9_-]{1,32}$/;
const HOST = /^[A-Za-z0-9._-]{1,253}$/;

const PASSWORDS = `
Passwords come from the environment (CRAFT_SERVICES_PASSWORD,
CRAFT_OPERATOR_PASSWORD, CRAFT_READER_PASSWORD, CRAFT_SYSTEM_PASSWORD,
CRAFT_ROUTES_PASSWORD, and one for each client), else from passwords.json in the
folder, else they are random. The folder has NODE.conf for each node, USER.env
for each user, and passwords.json. Only their owner may read them.
`;

interface NatsConfigArguments extends Omit<NatsConfig, 'cluster' | 'tls' | 'hashes' | 'routesPassword'> {
  readonly nodeCert?: string;
  readonly nodeKey?: string;
  readonly nodeCa?: string;
  readonly verifyClients: boolean;
  readonly force: boolean;
}

export function addNatsConfig(program: Command): void {
  program
    .command('nats-config')
    .description('write the configuration of the NATS servers: accounts, users, permissions')
    .argument('<folder>', 'created when it does not exist')
    .addOption(
      new Option('--nodes <list>', 'names of the NATS servers, or NAME=HOST')
        .argParser(nodes)
        .default([{ name: 'n1', host: 'n1' }], 'n1'),
    )
    .addOption(
      new Option('--servers <list>', 'servers of craft, whose logs readers may read')
        .env('CRAFT_SERVERS')
        .argParser(names)
        .default(['s1', 's2', 's3'], 's1,s2,s3'),
    )
    .addOption(
      new Option('--clients <list>', 'users that send commands').argParser(names).default(['client'], 'client'),
    )
    .addOption(
      new Option('--listen <address>', 'IP address of clients and routes').argParser(address).default('0.0.0.0'),
    )
    .addOption(portOption('--port <n>', 'for clients', 4222).env('CRAFT_NATS_PORT'))
    .addOption(portOption('--route-port <n>', 'between the nodes', 6222))
    .option('--site <name>', 'the one of --sites to which these nodes belong')
    .addOption(
      new Option(
        '--sites <list>',
        'NATS clusters joined by gateways: NAME=HOST; separate the hosts of one by +',
      ).argParser(sites),
    )
    .addOption(portOption('--gateway-port <n>', 'between the sites', GATEWAY_PORT))
    .addOption(portOption('--monitor-port <n>', 'of the monitoring, on 127.0.0.1', 8222).env('CRAFT_NATS_MONITOR_PORT'))
    .option('--store-dir <folder>', 'of JetStream, at each node', '/data')
    .option('--node-cert <file>', 'TLS: certificate, as a node reads it')
    .option('--node-key <file>', 'its key')
    .option('--node-ca <file>', 'its authority')
    .option('--verify-clients', 'require a client certificate of that authority', false)
    .option('--force', 'overwrite existing files', false)
    .addHelpText(
      'after',
      `${PASSWORDS}${examples(
        'craft nats-config ./nats --nodes n1,n2,n3',
        'craft --cluster bank nats-config ./nats --nodes a=10.0.0.1',
        'craft nats-config ./eu --nodes e1 --site eu --sites eu=e1,us=u1',
      )}`,
    )
    .action(async (folder: string, options: NatsConfigArguments) => {
      const { nodeCert, nodeKey, nodeCa, verifyClients, force, ...config } = options;
      const { cluster } = program.opts<GlobalOptions>();
      if (!NAME.test(cluster))
        throw new NatsConfigError(`--cluster ${JSON.stringify(cluster)}: letters, digits, _ and -`);
      requireDistinct(
        [...FIXED_USERS, ROUTES_USER, ...config.clients].map((one) => one.toLowerCase().replaceAll('-', '_')),
        'user',
      );
      requireDistinct(
        config.nodes.map(({ name }) => name),
        'node',
      );
      requireSite(config);
      const tls = tlsOf({ nodeCert, nodeKey, nodeCa, verifyClients });
      const written = await writeNatsFiles({
        ...{ folder, force, environment: process.env },
        config: { ...config, cluster, tls },
      });
      for (const path of written) print(path);
    });
}

function requireSite({ site, sites }: Pick<NatsConfig, 'site' | 'sites'>): void {
  if (site === undefined && sites === undefined) return;
  if (site === undefined || sites === undefined) throw new NatsConfigError('--site and --sites belong together');
  const names = sites.map(({ name }) => name);
  if (!names.includes(site)) throw new NatsConfigError(`--site ${site} is not one of --sites ${names.join(',')}`);
  requireDistinct(names, 'site');
}

interface TlsArguments {
  readonly nodeCert: string | undefined;
  readonly nodeKey: string | undefined;
  readonly nodeCa: string | undefined;
  readonly verifyClients: boolean;
}

function tlsOf(given: TlsArguments): NatsTls | undefined {
  const { nodeCert: cert, nodeKey: key, nodeCa: ca, verifyClients } = given;
  if (cert !== undefined && key !== undefined && ca !== undefined) return { cert, key, ca, verifyClients };
  if (cert === undefined && key === undefined && ca === undefined && !verifyClients) return undefined;
  throw new NatsConfigError('TLS needs --node-cert, --node-key and --node-ca');
}

function requireDistinct(given: readonly string[], what: string): void {
  const twice = given.find((one, at) => given.indexOf(one) !== at);
  if (twice !== undefined) throw new NatsConfigError(`the name ${twice} is there twice: give each ${what} its own`);
}

function portOption(flags: string, what: string, port: number): Option {
  const parse = (text: string): number => {
    const value = integer(1)(text);
    if (value > 65_535) throw new InvalidArgumentError('not a port');
    return value;
  };
  return new Option(flags, `port ${what}`).argParser(parse).default(port);
}

function list(text: string): string[] {
  return text.split(',').map((part) => part.trim());
}

function names(text: string): string[] {
  const all = list(text);
  for (const one of all) requireName(one);
  return all;
}

function requireName(name: string): void {
  if (!NAME.test(name)) throw new InvalidArgumentError(`${JSON.stringify(name)}: letters, digits, _ and -, at most 32`);
}

function nodes(text: string): NatsNode[] {
  return list(text).map((one) => {
    const [name = '', host = name] = one.split('=', 2);
    requireName(name);
    if (isIP(host) !== 6 && !HOST.test(host)) throw new InvalidArgumentError(`${JSON.stringify(host)} is not a host`);
    return { name, host: isIP(host) === 6 ? `[${host}]` : host };
  });
}

function sites(text: string): NatsSite[] {
  return list(text).map((one) => {
    const [name = '', hosts = ''] = one.split('=', 2);
    if (hosts === '') throw new InvalidArgumentError(`${JSON.stringify(one)} is not NAME=HOST`);
    return { name, hosts: hosts.split('+').flatMap((host) => nodes(`${name}=${host}`).map((node) => node.host)) };
  });
}

function address(text: string): string {
  const version = isIP(text);
  if (version === 0) throw new InvalidArgumentError(`${JSON.stringify(text)} is not an IP address`);
  return version === 6 ? `[${text}]` : text;
}
