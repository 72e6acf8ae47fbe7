import { describe, expect, it } from 'vitest';
import { limitsOf, limitsTrouble, publishTrouble } from '../../../shared/health/stream-limits.js';

describe('limits of a merged-log stream', () => {
  it('are none of one that craft has made', () => {
    const config = { max_msgs: -1, max_bytes: -1, max_age: 0, max_msg_size: -1, max_msgs_per_subject: -1 };
    expect(limitsOf(config)).toEqual([]);
    expect(limitsTrouble('CRAFT_LOG_s1', [])).toBeUndefined();
  });

  it('are named, each with the option that removes it', () => {
    const limits = limitsOf({ max_msgs: 5, max_age: 60e9, max_msg_size: 1_000 });
    expect(limits).toEqual(['max_msgs 5', 'max_msg_size 1000', 'max_age 60 s']);
    expect(limitsTrouble('CRAFT_LOG_s1', limits)?.remedy).toBe(
      'nats stream edit CRAFT_LOG_s1 --max-msgs=-1 --max-msg-size=-1 --max-age=-1',
    );
  });

  it('of a sealed one cannot be removed: it is made anew', () => {
    expect(limitsTrouble('CRAFT_LOG_s1', limitsOf({ sealed: true }))?.remedy).toContain('nats stream rm CRAFT_LOG_s1');
  });
});

describe('what a stream refuses', () => {
  it.each([
    ['invalid operation on sealed stream', /nats stream rm S/],
    ['message size exceeds maximum allowed', /--max-msg-size=-1/],
    ['maximum messages exceeded', /--max-msgs=-1/],
    ['maximum bytes exceeded', /--max-bytes=-1/],
    ['insufficient resources', /JetStream is full/],
    ['timeout', /start the NATS server that has the stream.*nats stream edit S --replicas=3/],
  ])('%s: is told with what to do', (message, remedy) => {
    const trouble = publishTrouble('S', new Error(message));
    expect(trouble.why).toContain(message);
    expect(trouble.remedy).toMatch(remedy);
  });

  it('is told as a stream that no server has, when nothing listens there', () => {
    const { why, remedy } = publishTrouble('S', new Error('jetstream is not enabled'));
    expect(why).toBe('stream S does not take the merged log: no NATS server that runs has it');
    expect(remedy).toMatch(/start the NATS server/);
  });
});
