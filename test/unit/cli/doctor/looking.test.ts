/** What `craft doctor` finds of what could not be looked at. */

import { PermissionViolationError } from '@nats-io/nats-core';
import { describe, expect, it } from 'vitest';
import { LookError, within } from '../../../../services/cli/doctor/collect/within.js';
import { examine } from '../../../../services/cli/doctor/examine.js';
import { LOOKING_CHECKS } from '../../../../services/cli/doctor/looking.js';
import { statusOf } from '../../../../services/cli/doctor/servers.js';
import { database, failed, HEALTHY, known, notGiven, STREAMS, value } from './facts.js';
import { itFinds } from './sightings.js';

itFinds(LOOKING_CHECKS, [
  [
    'not-looked-at',
    { account: failed('could not look: there was no answer') },
    /^JetStream: could not look: there was no answer; try again/,
  ],
  [
    'not-looked-at',
    { streams: known({ streams: STREAMS, isCut: true }) },
    /^streams: there are too many.*an account|^streams: .*account of its own/,
  ],
  [
    'not-looked-at',
    database({ state: failed('could not look: permission denied for table position') }),
    /^db:5432\/craft_s1: could not look: permission denied for table position; try again/,
  ],
  [
    'not-looked-at',
    database({ missingRights: failed('no answer within 1 s') }),
    /^db:5432\/craft_s1: no answer within 1 s/,
  ],
  ['not-looked-at', database({ connections: failed('no answer within 1 s') }), /^db:5432\/craft_s1: no answer/],
  [
    'not-looked-at',
    value('disk', { writes: { why: 'this user may not write there' } }),
    /^\/data: the speed of its disk was not measured: this user may not write there; .*as the user of the server/,
  ],
  ['not-given', { disk: notGiven('not looked at') }, /^disk: not looked at; give it$/],
]);

it('the checks say nothing of what depends on facts that could not be had', () => {
  const skipped = { is: 'skipped' } as const;
  const none = { account: skipped, rights: skipped, streams: skipped, snapshots: skipped, servers: skipped };
  const facts = { ...HEALTHY, ...none, clocks: skipped, nats: failed('it is away') };
  expect(examine(facts).map(({ code }) => code)).toEqual(['nats-unreachable']);
  expect(statusOf(facts)).toBeUndefined();
});

describe('a look', () => {
  it('that hangs ends in time, and says so', async () => {
    expect(await within(() => new Promise(() => undefined), 'see whether it hangs', 5)).toEqual({
      ...{ is: 'failed', why: 'no answer within 0.005 s', remedy: 'see whether it hangs' },
    });
  });

  it('that is refused says as whom to try again; another failure says what it is', async () => {
    const refusal = new PermissionViolationError('no', 'publish', 'craft.admin.x');
    const failing = (error: Error) => within(() => Promise.reject(error), 'try again');
    expect(await failing(new Error('outer', { cause: refusal }))).toMatchObject({
      ...{ why: 'could not look: this user may not send to craft.admin.x' },
      ...{ remedy: expect.stringContaining('as the user operator') },
    });
    expect(await failing(new LookError('own words', 'own remedy'))).toMatchObject({
      why: 'own words',
      remedy: 'own remedy',
    });
    expect(await failing(new Error('boom'))).toMatchObject({ why: 'could not look: boom', remedy: 'try again' });
  });
});
