/** What is wrong with the NATS servers, the account and the user. Pure. */
import { MESSAGE_OVERHEAD_BYTES } from '../../../shared/wire/connection.js';
import { type Check, failure } from './check.js';
import { factOf } from './facts.js';
import { isOfServer, serverNumber } from './settings.js';

/** craft uses direct gets of several messages at once. */
const VERSION_MIN = [2, 11] as const;
/** Of a limit of JetStream: from here on it is nearly reached. */
const NEARLY = 0.8;

export const NATS_CHECKS: readonly Check[] = [
  {
    code: 'nats-unreachable',
    level: 'error',
    about: 'NATS cannot be reached, refuses this user, or does not let it hear answers.',
    find: ({ nats }) => failure('NATS', nats),
  },
  {
    code: 'nats-version',
    level: 'error',
    about: `nats-server is older than ${VERSION_MIN.join('.')}.`,
    find: ({ nats }) => {
      const known = factOf(nats);
      if (known === undefined || isNewEnough(known.version)) return [];
      const what = `nats-server ${known.version} is too old for craft`;
      return [{ where: known.address, what, remedy: `install nats-server ${VERSION_MIN.join('.')} or newer` }];
    },
  },
  {
    code: 'jetstream-off',
    level: 'error',
    about: 'JetStream is off, for all NATS servers or for this account.',
    find: ({ nats, account }) => {
      const known = factOf(nats);
      // Another NATS server may have JetStream than the one that answers: only the account tells.
      if (known === undefined || factOf(account)?.isEnabled !== false) return [];
      const { address: where, hasJetStream } = known;
      if (hasJetStream)
        return [{ where, what: 'JetStream is off for this account', remedy: 'set jetstream: enabled for the account' }];
      const remedy = 'add the block jetstream { store_dir: … } to the configuration of the NATS servers';
      return [{ where, what: 'JetStream is off here, and no other NATS server has it for this account', remedy }];
    },
  },
  {
    code: 'jetstream-limit',
    level: 'warning',
    about: 'The account is near, or at, a limit of JetStream: storage, memory, streams.',
    find: ({ account }) =>
      (factOf(account)?.uses ?? []).flatMap(({ what, used, max }) => {
        // One more stream is needed at least when a server is added.
        const isNear = what === 'streams' ? used >= max : used >= max * NEARLY;
        if (!isNear) return [];
        const unit = what === 'streams' ? 'streams' : `bytes of ${what}`;
        const remedy = `raise max_${LIMITS[what]} of the account, or remove other streams (nats stream report)`;
        return [{ where: 'JetStream', what: `the account uses ${used} of ${max} ${unit}`, remedy }];
      }),
  },
  {
    code: 'max-payload',
    level: 'error',
    about: 'NATS takes smaller messages than `CRAFT_PAYLOAD_BYTES_MAX` needs.',
    find: ({ nats, environment }) => {
      const known = factOf(nats);
      const payloadBytesMax = serverNumber(environment, 'CRAFT_PAYLOAD_BYTES_MAX');
      if (known === undefined || payloadBytesMax === undefined) return [];
      const needed = payloadBytesMax + MESSAGE_OVERHEAD_BYTES;
      if (known.payloadBytesMax >= needed) return [];
      const what = `max_payload is ${known.payloadBytesMax} bytes, and CRAFT_PAYLOAD_BYTES_MAX needs ${needed}`;
      return [{ where: known.address, what, remedy: 'set max_payload: 4MB at all NATS servers' }];
    },
  },
  {
    code: 'nats-plain',
    level: 'warning',
    about: 'The connection to NATS has no TLS although it leaves this machine.',
    find: ({ nats }) => {
      const known = factOf(nats);
      if (known === undefined || known.isTls || known.isLocal) return [];
      const what = 'passwords and commands cross the network unencrypted, without TLS';
      return [{ where: known.address, what, remedy: 'set up TLS: deploy/nats/README.md, "TLS"' }];
    },
  },
  {
    code: 'nats-right',
    level: 'warning',
    about: 'NATS refuses this user something that a server or an operator needs.',
    find: ({ rights, environment }) =>
      (factOf(rights) ?? []).map(({ verb, subject, needs }) => {
        const user = isOfServer(environment) ? 'services' : 'operator';
        const remedy = `run it as the user ${user}, or give this one the right: deploy/nats/README.md`;
        return { where: subject, what: `this user may not ${verb} it: ${needs} needs that`, remedy };
      }),
  },
  {
    code: 'replicas-impossible',
    level: 'error',
    about: '`CRAFT_SNAPSHOT_REPLICAS` is more than there are NATS servers.',
    find: ({ nats, environment }) => {
      const known = factOf(nats);
      const replicas = serverNumber(environment, 'CRAFT_SNAPSHOT_REPLICAS');
      if (known === undefined || replicas === undefined || replicas <= known.nodesMax) return [];
      const what = `it is ${replicas}, and there ${are(known.nodesMax)}: JetStream refuses such streams`;
      const remedy = `set it to ${replicasFor(known.nodesMax)}, or add NATS servers`;
      return [{ where: 'CRAFT_SNAPSHOT_REPLICAS', what, remedy }];
    },
  },
];

/** Two or four replicas survive no more than one or three do, and need one NATS server more. */
const replicasFor = (nodes: number): number => (nodes < 3 ? 1 : nodes < 5 ? 3 : 5);

const LIMITS = { storage: 'file', memory: 'mem', streams: 'streams' } as const;

const are = (count: number): string => (count === 1 ? 'is 1 NATS server' : `are ${count} NATS servers at most`);

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > VERSION_MIN[0] || (major === VERSION_MIN[0] && minor >= VERSION_MIN[1]);
}
