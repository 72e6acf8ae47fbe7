/** What `craft doctor` finds of the streams of the cluster, and of others. */
import { describe, expect, it } from 'vitest';
import { examine } from '../../../../services/cli/doctor/examine.js';
import type { Facts } from '../../../../services/cli/doctor/facts.js';
import { STREAM_CHECKS } from '../../../../services/cli/doctor/streams.js';
import { overlap } from '../../../../services/cli/doctor/subjects-overlap.js';
import { Subjects } from '../../../../shared/wire/subjects.js';
import { foreign, HEALTHY, known, STREAMS, stream, streams } from './facts.js';
import { itFinds } from './sightings.js';

itFinds(STREAM_CHECKS, [
  [
    'stream-sealed',
    streams('CRAFT_LOG_s2', { sealed: true }),
    /^CRAFT_LOG_s2: it is sealed.*nats stream rm CRAFT_LOG_s2$/,
  ],
  [
    'stream-limits',
    streams('CRAFT_LOG_s2', { max_age: 1e9 }),
    /^CRAFT_LOG_s2: it drops old messages because of max_age 1 s; nats stream edit CRAFT_LOG_s2 --max-age=-1/,
  ],
  [
    'stream-limits',
    streams('OBJ_CRAFT_SNAPSHOTS', { max_bytes: 5 }),
    /refuses new messages because of max_bytes 5; nats stream edit/,
  ],
  [
    'stream-kind',
    streams('CRAFT_REGISTER', { storage: 'memory' }),
    /in memory, .*restart one server after the other.*nats stream rm CRAFT_REGISTER/,
  ],
  [
    'stream-kind',
    streams('CRAFT_LOG_s1', { retention: 'interest' }),
    /its retention is interest.*nats stream rm CRAFT_LOG_s1/,
  ],
  [
    'stream-subjects',
    streams('CRAFT_LOG_s1', { subjects: ['craft.log.s1', 'craft.cmd.>'] }),
    /it stores craft\.log\.s1, craft\.cmd\.> instead of craft\.log\.s1; nats stream edit CRAFT_LOG_s1 --subjects=craft\.log\.s1$/,
  ],
  [
    'stream-subjects',
    streams('CRAFT_LOG_s1', { subjects: ['Craft.log.s1'] }),
    /correct CRAFT_CLUSTER, or give the clusters names/,
  ],
  [
    'foreign-stream',
    foreign('other', 'craft.cmd.>', 'orders.*'),
    /^ALL: it stores craft\.cmd\.>: .*only subjects outside of craft\.>: nats stream edit ALL --subjects=other,orders\.\*$/,
  ],
  ['foreign-stream', foreign('*.log.s9'), /^ALL: it stores \*\.log\.s9: .*nats stream edit ALL --subjects=SUBJECTS$/],
  [
    'single-replica',
    streams('CRAFT_REGISTER', { num_replicas: 1 }),
    /^CRAFT_REGISTER: its only replica .*--replicas=3, and set CRAFT_SNAPSHOT_REPLICAS=3/,
  ],
  [
    'replica-offline',
    streams('CRAFT_REGISTER', {}, { replicas: [{ name: 'n2', offline: true }] }),
    /1 of 3 replicas are away: n2; start the NATS servers/,
  ],
  ['replica-offline', streams('CRAFT_LOG_s1', {}, { leader: '' }), /^CRAFT_LOG_s1: it has no leader; start/],
  [
    'missing-stream',
    { streams: known({ streams: STREAMS.slice(1), isCut: false }) },
    /^CRAFT_LOG_s1: it does not exist, .*merger of s1/,
  ],
  [
    'missing-stream',
    { streams: known({ streams: STREAMS.filter(({ config }) => config.name !== 'CRAFT_REGISTER'), isCut: false }) },
    /^CRAFT_REGISTER: .*restart one server after the other/,
  ],
]);

describe('remedies', () => {
  const STORE_SUBJECT = new Subjects('craft').storeSubject('s1');
  const store = (more: object): Partial<Facts> => ({
    streams: known({ streams: [...STREAMS, stream('CRAFT_STORE_s1', [STORE_SUBJECT], more)], isCut: false }),
  });
  const remediesOf = (change: Partial<Facts>) => examine({ ...HEALTHY, ...change }).map(({ remedy }) => remedy);

  it.each([{ sealed: true }, { storage: 'memory' }, { retention: 'interest' }])(
    'delete no log of a voter and no snapshot: %o',
    (more) => {
      const kept = [
        [store(more), /removed from all groups; .*"Replace a server"$/],
        [streams('OBJ_CRAFT_SNAPSHOTS', more), /^save the newest snapshot first: craft snapshot save FILE; /],
      ] as const;
      for (const [change, said] of kept) {
        const remedies = remediesOf(change);
        expect(remedies).toEqual([expect.stringMatching(said)]);
        expect(remedies.join()).not.toContain('stream rm');
      }
    },
  );

  it('delete no stream that another cluster owns', () => {
    const remedies = [foreign('>'), foreign('a', 'craft.>')].flatMap(remediesOf);
    expect(remedies).toHaveLength(2);
    expect(remedies.join()).not.toContain('stream rm');
  });
});

it.each([
  ['craft.cmd.>', 'craft.>', true],
  ['>', 'craft.>', true],
  ['*.cmd', 'craft.>', true],
  ['craft', 'craft.>', false],
  ['crafts.>', 'craft.>', false],
  ['a.*.c', 'a.b.*', true],
  ['a.b', 'a.b.c', false],
])('subjects: %s and %s overlap: %s', (a, b, isSo) => {
  expect([overlap(a, b), overlap(b, a)]).toEqual([isSo, isSo]);
});
