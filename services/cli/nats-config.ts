/**
 * The configuration of a NATS cluster for one cluster of craft, as text. Pure.
 *
 * Services, readers and each client have an account of their own. An account sees of another one
 * only what that exports. There is no subject on which a client could reach a replica, and an
 * answer to a forged reply subject ends in the account of the forger. Operators are users of the
 * services' account, since they may replace the whole state anyway; permissions keep them from
 * mistakes.
 */
import { Subjects } from '../../shared/wire/subjects.js';

/** One server of the NATS cluster. */
export interface NatsNode {
  readonly name: string;
  /** Where clients and the other nodes reach it, without a port. */
  readonly host: string;
}

/** One NATS cluster of several that are joined by gateways: usually a site. */
export interface NatsSite {
  readonly name: string;
  /** Where the gateways of its nodes are reached, without a port. */
  readonly hosts: readonly string[];
}

export interface NatsTls {
  /** Paths of PEM files, as the NATS server reads them. */
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** Let no client in without a certificate of `ca`. */
  readonly verifyClients: boolean;
}

export interface NatsConfig {
  /** Name of the cluster of craft. */
  readonly cluster: string;
  /** Its servers: readers may read their merged logs. */
  readonly servers: readonly string[];
  readonly nodes: readonly NatsNode[];
  /** Names of the users that send commands and queries. */
  readonly clients: readonly string[];
  /** Address at which the nodes listen for clients and routes. */
  readonly listen: string;
  readonly port: number;
  readonly routePort: number;
  /**
   * Which of `sites` these nodes are; undefined: there is one NATS cluster, which has the name of
   * the cluster of craft.
   */
  readonly site?: string | undefined;
  /** All of them, in the same order everywhere. */
  readonly sites?: readonly NatsSite[] | undefined;
  readonly gatewayPort?: number | undefined;
  /** Of the HTTP monitoring, on the machine itself. */
  readonly monitorPort: number;
  readonly storeDir: string;
  readonly tls: NatsTls | undefined;
  /** Hash of each user's password, by user. */
  readonly hashes: Readonly<Record<string, string>>;
  /**
   * Of the routes and gateways. It stands in the addresses as it is: each node shows it to the
   * others.
   */
  readonly routesPassword: string;
}

/** Users that every cluster has, besides its clients. */
export const FIXED_USERS = ['services', 'operator', 'reader', 'system'] as const;
/** The user of the routes and the gateways: none that a client can connect with. */
export const ROUTES_USER = 'routes';

/** Where the gateways listen unless another port is given. */
export const GATEWAY_PORT = 7222;

/** How long an answer may take after the one before (NATS forgets whose it is then). */
const ANSWER_SECONDS = 60;

/** What all inboxes of a user begin with: no user may subscribe to those of another one. */
function inboxPrefixOf(user: string): string {
  return `_INBOX_${user}`;
}

/** The file of one node. */
export function natsConfiguration(config: NatsConfig, node: NatsNode): string {
  const { cluster, listen, port, monitorPort, storeDir, tls } = config;
  const subjects = new Subjects(cluster);
  return `# Written by craft nats-config. Write it again rather than change it. It has a password: only its owner may read it.
server_name: ${quoted(node.name)}
server_tags: [${quoted(`node:${node.name}`)}]
listen: ${quoted(`${listen}:${port}`)}
# Monitoring shows users and subjects; therefore it listens on this machine only.
http: ${quoted(`127.0.0.1:${monitorPort}`)}

# A message of the merged log may be larger than any command.
max_payload: 4MB

# The merged logs can be rebuilt from the logs of the groups: JetStream needs no sync_interval.
jetstream { store_dir: ${quoted(storeDir)} }

# Checking a password hash takes time, and all services may connect at once.
authorization { timeout: 10 }
${tls === undefined ? '' : `${tlsBlock(tls, tls.verifyClients)}\n`}${routesOf(config)}
accounts {
  SERVICES {
    jetstream: enabled
    users: [
      ${userLine(config, 'services')}
      ${userLine(config, 'operator', operatorSubjects(subjects))}
    ]
    exports: [
${lines(exportsOf(config, subjects).map(exportLine))}
    ]
  }
${config.clients.map((user) => accountOf(config, user, clientExports(subjects))).join('\n')}
${accountOf(config, 'reader', readerExports(subjects, config.servers))}
  SYSTEM {
    users: [
      { user: system, password: ${quoted(hashOf(config, 'system'))} }
    ]
  }
}
system_account: SYSTEM
`;
}

/** A subject that other accounts may ask. */
interface Export {
  readonly subject: string;
  /** More than one answer comes. */
  readonly many: boolean;
}

interface SharedExport extends Export {
  /** Who may import it. */
  readonly accounts: readonly string[];
}

/**
 * Each client has an account for itself: there is no subject that two of them share, and no inbox
 * of another one.
 */
function accountNameOf(user: string): string {
  return user === 'reader' ? 'READERS' : `CLIENT_${user}`;
}

function accountOf(config: NatsConfig, user: string, imports: readonly Export[]): string {
  const subjects = imports.map(({ subject }) => subject);
  return `  ${quoted(accountNameOf(user))} {
    users: [
      ${userLine(config, user, subjects)}
    ]
    imports: [
${lines(subjects.map(importLine))}
    ]
  }`;
}

function exportsOf({ clients, servers }: NatsConfig, subjects: Subjects): SharedExport[] {
  const accounts = new Map<string, SharedExport>();
  const share = (user: string, all: readonly Export[]) => {
    for (const one of all) {
      const others = accounts.get(one.subject)?.accounts ?? [];
      accounts.set(one.subject, { ...one, accounts: [...others, accountNameOf(user)] });
    }
  };
  for (const user of clients) share(user, clientExports(subjects));
  share('reader', readerExports(subjects, servers));
  return [...accounts.values()];
}

function clientExports(subjects: Subjects): Export[] {
  return [
    one(subjects.commands()),
    one(anyGroup(subjects.groupCommand(0, '>'))),
    // Its commands are answered when they are applied, each at its time.
    many(subjects.batch()),
    many(anyGroup(subjects.groupBatch(0))),
    one(subjects.query('>')),
    one(subjects.serverCommand('*', '>')),
    many(subjects.serverBatch('*')),
    one(subjects.serverQuery('*', '>')),
    one(subjects.sync('*')),
    ...statusExports(subjects),
  ];
}

/**
 * A direct get reads and does nothing else. It names one stream: NATS has no wildcard for a part of
 * a name.
 */
function readerExports(subjects: Subjects, servers: readonly string[]): Export[] {
  const gets = servers.flatMap((server) => {
    const get = `$JS.API.DIRECT.GET.${subjects.logStream(server)}`;
    return [many(get), one(`${get}.${subjects.logSubject(server)}`)];
  });
  // What became of the commands, which is in no log.
  return [...statusExports(subjects), one(subjects.admin('outcomes', '*')), ...gets];
}

/** Every server answers these. */
function statusExports(subjects: Subjects): Export[] {
  return ['status', 'applied', 'health'].map((verb) => many(subjects.admin(verb)));
}

function one(subject: string): Export {
  return { subject, many: false };
}

function many(subject: string): Export {
  return { subject, many: true };
}

function operatorSubjects(subjects: Subjects): string[] {
  return [
    ...clientExports(subjects).map(({ subject }) => subject),
    subjects.admin('>'),
    anyGroup(subjects.configure(0)),
    subjects.verify(),
    subjects.machine(),
    // nats micro lists the services.
    '$SRV.>',
    // Snapshots are saved from the object store, and restored by way of it.
    ...['$JS.API.>', '$JS.ACK.>', '$JS.FC.>'],
    `$O.${subjects.snapshotBucket()}.>`,
  ];
}

function anyGroup(subjectOfGroup0: string): string {
  return subjectOfGroup0.replace('.group.0.', '.group.*.');
}

function exportLine({ subject, many, accounts }: SharedExport): string {
  const answers = many ? `, response_type: Stream, response_threshold: "${ANSWER_SECONDS}s"` : '';
  return `{ service: ${quoted(subject)}${answers}, accounts: [${accounts.map(quoted).join(', ')}] }`;
}

function importLine(subject: string): string {
  return `{ service: { account: SERVICES, subject: ${quoted(subject)} } }`;
}

/** `publish`: all that the user may send; undefined: everything in its account. */
function userLine(config: NatsConfig, user: string, publish?: readonly string[]): string {
  const password = quoted(hashOf(config, user));
  if (publish === undefined) return `{ user: ${quoted(user)}, password: ${password} }`;
  const permissions = `publish: [${publish.map(quoted).join(', ')}], subscribe: [${quoted(`${inboxPrefixOf(user)}.>`)}]`;
  return `{ user: ${quoted(user)}, password: ${password}, permissions: { ${permissions} } }`;
}

function hashOf({ hashes }: NatsConfig, user: string): string {
  const hash = hashes[user];
  if (hash === undefined) throw new Error(`no password for the user ${user}`);
  return hash;
}

/** Of a cluster, and of its gateways to others; one node alone is none, unless it is a site. */
function routesOf(config: NatsConfig): string {
  const { cluster, nodes, routePort, site } = config;
  if (nodes.length === 1 && site === undefined) return '';
  const routes = nodes.map(({ host }) => quoted(peerUrl(config, host, routePort)));
  return `
cluster {
  name: ${quoted(site ?? cluster)}
${listenForPeers(config, routePort)}  routes: [
${lines(routes)}
  ]
}
${gatewaysOf(config)}`;
}

function gatewaysOf(config: NatsConfig): string {
  const { site, sites = [], gatewayPort = GATEWAY_PORT } = config;
  if (site === undefined) return '';
  const gateways = sites.map(({ name, hosts }) => {
    const urls = hosts.map((host) => quoted(peerUrl(config, host, gatewayPort)));
    return `{ name: ${quoted(name)}, urls: [${urls.join(', ')}] }`;
  });
  return `
gateway {
  name: ${quoted(site)}
${listenForPeers(config, gatewayPort)}  # A site that is not listed is not let in.
  reject_unknown_cluster: true
  gateways: [
${lines(gateways)}
  ]
}
`;
}

function peerUrl({ routesPassword }: NatsConfig, host: string, port: number): string {
  return `nats://${ROUTES_USER}:${encodeURIComponent(routesPassword)}@${host}:${port}`;
}

function listenForPeers(config: NatsConfig, port: number): string {
  const { listen, tls } = config;
  const tlsLine = tls === undefined ? '' : `  ${tlsBlock(tls, true)}\n`;
  return `  listen: ${quoted(`${listen}:${port}`)}
  authorization { user: ${ROUTES_USER}, password: ${quoted(hashOf(config, ROUTES_USER))}, timeout: 5 }
${tlsLine}`;
}

function tlsBlock({ cert, key, ca }: NatsTls, verify: boolean): string {
  const files = `cert_file: ${quoted(cert)}, key_file: ${quoted(key)}, ca_file: ${quoted(ca)}`;
  return `tls { ${files}, verify: ${verify} }`;
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `      ${text}`).join('\n');
}

/**
 * A string of the configuration, whatever is in it: what is not plain ASCII is written as its bytes
 * in UTF-8.
 */
export function quoted(text: string): string {
  const bytes = [...Buffer.from(text, 'utf8')].map((byte) => {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c;
    return isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  });
  return `"${bytes.join('')}"`;
}

/**
 * What a user needs to connect, as a file of environment variables; safe for a shell and for docker
 * compose.
 */
export function userEnvironment(config: NatsConfig, user: string, password: string): string {
  const { cluster, nodes, port, tls } = config;
  const scheme = tls === undefined ? 'nats' : 'tls';
  const url = ({ host }: NatsNode) => `${scheme}://${user}:${encoded(password)}@${host}:${port}`;
  const variables = [
    ['CRAFT_CLUSTER', cluster],
    ['CRAFT_NATS_URL', nodes.map(url).join(',')],
    ['CRAFT_NATS_INBOX_PREFIX', inboxPrefixOf(user)],
  ];
  return variables.map(([name, value]) => `${name}=${value}\n`).join('');
}

/** As `encodeURIComponent`, also what means something to a shell. */
function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*~]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}
