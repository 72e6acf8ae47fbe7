/** What a service answers to `nats micro`, by the subject that asks. */
import { expect, it } from 'vitest';
import { VERSION } from '../../../shared/config/version.js';
import { MicroAnswers } from '../../../shared/wire/micro.js';

const statistics = { requests: 4, errors: 1, lastError: 'OVERLOADED: try again', processingMs: 2 };
const endpoint = { name: 'query', subject: 'craft.query.>', queueGroup: 'appliers', statistics: () => statistics };
const about = { name: 'craft-applier', description: 'reads', server: 's1', cluster: 'craft' };
const answers = new MicroAnswers({ ...about, endpoints: [endpoint] }, 'A1', new Date(0));
const identity = { name: 'craft-applier', id: 'A1', version: VERSION, metadata: { server: 's1', cluster: 'craft' } };

it('answers to all services, to those of its name, and to its id', () => {
  const ping = { type: 'io.nats.micro.v1.ping_response', ...identity };
  for (const subject of ['$SRV.PING', '$SRV.PING.craft-applier', '$SRV.PING.craft-applier.A1']) {
    expect(answers.to(subject), subject).toEqual(ping);
  }
});

it('says what it has, and what it has counted', () => {
  const described = { name: 'query', subject: 'craft.query.>', queue_group: 'appliers' };
  expect(answers.to('$SRV.INFO')).toEqual({
    ...{ type: 'io.nats.micro.v1.info_response', ...identity },
    ...{ description: 'reads', endpoints: [described] },
  });
  expect(answers.to('$SRV.STATS')).toEqual({
    ...{ type: 'io.nats.micro.v1.stats_response', ...identity, started: '1970-01-01T00:00:00.000Z' },
    endpoints: [
      {
        ...{ ...described, num_requests: 4, num_errors: 1, last_error: 'OVERLOADED: try again' },
        ...{ processing_time: 2_000_000, average_processing_time: 500_000 },
      },
    ],
  });
});

it('leaves to others what is theirs', () => {
  const others = ['craft-merger', 'craft-applier.A2', 'craft-applier.A1.more'].map((rest) => `$SRV.PING.${rest}`);
  for (const subject of [...others, '$SRV', '$SRV.SCHEMA', '$SRV.constructor', 'other.PING']) {
    expect(answers.to(subject), subject).toBeUndefined();
  }
});
