/** What `craft doctor` finds of NATS and its account. */
import { expect, it } from 'vitest';
import { examine } from '../../../../services/cli/doctor/examine.js';
import { NATS_CHECKS } from '../../../../services/cli/doctor/nats.js';
import { environment, failed, HEALTHY, known, streams, value } from './facts.js';
import { itFinds } from './sightings.js';

itFinds(NATS_CHECKS, [
  ['nats-unreachable', { nats: failed('it is away') }, /^NATS: it is away; try again$/],
  [
    'nats-version',
    value('nats', { version: '2.10.29' }),
    /^n1:4222: nats-server 2\.10\.29 is too old .*install nats-server 2\.11/,
  ],
  [
    'jetstream-off',
    { ...value('nats', { hasJetStream: false }), ...value('account', { isEnabled: false, uses: [] }) },
    /^n1:4222: JetStream is off here, and no other NATS server has it for this account; add the block/,
  ],
  ['jetstream-off', value('account', { isEnabled: false, uses: [] }), /off for this account; set jetstream: enabled/],
  [
    'jetstream-limit',
    value('account', { uses: [{ what: 'storage', used: 80, max: 100 }] }),
    /uses 80 of 100 bytes of storage; raise max_file of/,
  ],
  [
    'jetstream-limit',
    value('account', { uses: [{ what: 'streams', used: 7, max: 7 }] }),
    /uses 7 of 7 streams; raise max_streams/,
  ],
  [
    'max-payload',
    value('nats', { payloadBytesMax: 300_000 }),
    /^n1:4222: max_payload is 300000 bytes, .*set max_payload: 4MB/,
  ],
  ['nats-plain', value('nats', { isTls: false }), /without TLS; set up TLS: deploy\/nats\/README/],
  [
    'nats-right',
    { rights: known([{ verb: 'send to', subject: 'craft.rpc.s1', needs: 'a server' }]) },
    /^craft\.rpc\.s1: this user may not send to it: a server needs that; run it as the user services/,
  ],
  [
    'replicas-impossible',
    environment({ CRAFT_SNAPSHOT_REPLICAS: '5' }),
    /it is 5, and there are 3 NATS servers at most: .*; set it to 3/,
  ],
]);

it('the checks take the word of the account, not of the NATS server that answers, for JetStream', () => {
  expect(examine({ ...HEALTHY, ...value('nats', { hasJetStream: false }) })).toEqual([]);
});

it('the checks advise no two replicas, which stop with either', () => {
  const two = { ...HEALTHY, ...value('nats', { nodesMax: 2 }), ...streams('CRAFT_REGISTER', { num_replicas: 1 }) };
  expect(examine(two).map(({ code, remedy }) => `${code}: ${remedy}`)).toEqual([
    expect.stringMatching(/^replicas-impossible: set it to 1, or add NATS servers$/),
  ]);
});
