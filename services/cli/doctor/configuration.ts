/** What is wrong with the environment, and with what it says of the cluster. Pure. */
import type { Check, Sighting } from './check.js';
import { type Facts, factOf } from './facts.js';
import { nearest } from './nearest.js';
import { isOfServer, SETTING_NAMES, settingsConflict, unknownSettings, wrongSettings } from './settings.js';

const REFERENCE = 'see deploy/README.md, "Settings"';

export const CONFIGURATION_CHECKS: readonly Check[] = [
  {
    code: 'unknown-setting',
    level: 'warning',
    about: 'A variable `CRAFT_…` that nothing reads.',
    find: ({ environment }) =>
      unknownSettings(environment).map((name) => {
        const meant = nearest(name, SETTING_NAMES);
        const remedy = meant === undefined ? `remove it, or ${REFERENCE}` : `rename it to ${meant}`;
        return { where: name, what: 'no part of craft reads this variable', remedy };
      }),
  },
  {
    code: 'wrong-setting',
    level: 'error',
    about: 'A value that a service would refuse.',
    find: ({ environment }) =>
      wrongSettings(environment).map(({ name, why }) => ({
        where: name,
        what: why,
        remedy: `correct it: ${REFERENCE}`,
      })),
  },
  {
    code: 'settings-conflict',
    level: 'error',
    about: 'Settings that do not fit together, or one that is missing.',
    find: ({ environment }) => {
      const why = settingsConflict(environment);
      return why === undefined ? [] : [{ where: 'environment', what: why, remedy: `correct them: ${REFERENCE}` }];
    },
  },
  {
    code: 'setting-without-effect',
    level: 'warning',
    about: 'A setting that another one overrides, or that only tests use.',
    find: ({ environment }) => withoutEffect(environment),
  },
  {
    code: 'unreadable-file',
    level: 'error',
    about: 'A file that a setting names and that cannot be read.',
    find: ({ unreadableFiles }) =>
      unreadableFiles.map(({ variable, path, why }) => ({
        where: variable,
        what: `${path} cannot be read: ${why}`,
        remedy: 'correct the path, or let this user read the file',
      })),
  },
  {
    code: 'environment-differs',
    level: 'error',
    about: 'The environment belongs to another cluster than the one that runs: number of groups, name of the server.',
    find: environmentDiffers,
  },
  {
    code: 'servers-differ',
    level: 'error',
    about: 'Servers that run disagree on the number of groups, or on the cluster.',
    find: serversDiffer,
  },
];

const CREDENTIALS = ['CRAFT_NATS_CREDS', 'CRAFT_NATS_NKEY', 'CRAFT_NATS_TOKEN'] as const;

function withoutEffect(environment: Facts['environment']): Sighting[] {
  const found: Sighting[] = [];
  const [used, ...unused] = CREDENTIALS.filter((name) => environment[name]);
  for (const name of unused) {
    found.push({ where: name, what: `${used} is set, and wins`, remedy: 'leave only one of them' });
  }
  if (environment['CRAFT_METRICS_ADDRESS'] && !environment['CRAFT_METRICS_PORT']) {
    const what = 'there are no metrics without CRAFT_METRICS_PORT';
    found.push({ where: 'CRAFT_METRICS_ADDRESS', what, remedy: 'set CRAFT_METRICS_PORT, too' });
  }
  if (environment['CRAFT_TEST_CLOCK_OFFSET_MS']) {
    const what = 'it moves the clock of a server, for tests only';
    found.push({ where: 'CRAFT_TEST_CLOCK_OFFSET_MS', what, remedy: 'unset it' });
  }
  const isInStream = environment['CRAFT_LOG_STORE'] === 'jetstream';
  if (environment['CRAFT_NATS_MONITOR_URL'] && !isInStream) {
    const what = 'only a log store in JetStream needs it';
    found.push({ where: 'CRAFT_NATS_MONITOR_URL', what, remedy: 'unset it, or set CRAFT_LOG_STORE=jetstream' });
  }
  return found;
}

function environmentDiffers({ environment, servers: looked }: Facts): Sighting[] {
  const { servers = [] } = factOf(looked) ?? {};
  const [first] = servers;
  if (first === undefined) return [];
  const found: Sighting[] = [];
  const groups = environment['CRAFT_GROUPS'];
  if (groups && Number(groups) !== first.groups.length) {
    const what = `it is ${groups}, and the cluster has ${first.groups.length} groups`;
    found.push({ where: 'CRAFT_GROUPS', what, remedy: `set it to ${first.groups.length}: the number never changes` });
  }
  const server = environment['CRAFT_SERVER'];
  const members = new Set(
    servers.flatMap((one) => one.groups.flatMap(({ voters = [], learners = [] }) => [...voters, ...learners])),
  );
  if (
    server &&
    isOfServer(environment) &&
    members.size > 0 &&
    !members.has(server) &&
    environment['CRAFT_JOIN'] !== 'true'
  ) {
    const what = `${server} is no member of the cluster: ${[...members].sort().join(', ')}`;
    const remedy = `set CRAFT_JOIN=true, start it, then run: craft members add ${server}`;
    found.push({ where: 'CRAFT_SERVER', what, remedy });
  }
  return found;
}

function serversDiffer({ cluster, servers: looked }: Facts): Sighting[] {
  const { servers = [] } = factOf(looked) ?? {};
  const found: Sighting[] = [];
  const counts = new Map<number, string[]>();
  for (const { server, groups } of servers) counts.set(groups.length, [...(counts.get(groups.length) ?? []), server]);
  if (counts.size > 1) {
    const each = [...counts].map(
      ([count, names]) => `${names.join(', ')} ${names.length === 1 ? 'has' : 'have'} ${count}`,
    );
    const remedy = 'start all of them with the CRAFT_GROUPS that the cluster began with';
    found.push({ where: 'CRAFT_GROUPS', what: `the servers disagree: ${each.join('; ')}`, remedy });
  }
  for (const { server, cluster: other } of servers) {
    if (typeof other !== 'string' || other === cluster) continue;
    const remedy = 'start it with the same CRAFT_CLUSTER; names are case-sensitive';
    found.push({ where: server, what: `it belongs to the cluster ${other}, not to ${cluster}`, remedy });
  }
  return found;
}
