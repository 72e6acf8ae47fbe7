/**
 * Read barriers while members change (T6, T11): what a quorum is, only the newest configuration can
 * tell.
 */
import { describe, expect, it } from 'vitest';
import { Barriers, isAtLeast } from '../../../services/replica/core/barrier.js';
import type { ConfigurationPlace } from '../../../shared/wire/envelope.js';

const at = (term: number, index: number): ConfigurationPlace => ({ term, index });

/** A server of three, which knows the configuration `known` of its one group. */
function barriers(known: { place: ConfigurationPlace; voters: readonly string[] }) {
  return new Barriers('a', 1, (servers, newest) => {
    const [told] = newest;
    const isKnown = told === undefined || isAtLeast(known.place, told);
    return isKnown && known.voters.filter((voter) => servers.has(voter)).length > known.voters.length / 2;
  });
}

describe('a read barrier', () => {
  it('counts a quorum of the members that it knows while nobody tells of others', () => {
    const known = { place: at(0, 0), voters: ['a', 'b', 'c'] };
    const one = barriers(known);
    one.begin(7, 100);
    expect(one.passed(200)).toEqual([]);
    one.answer('b', { id: 1, timestamp: 150, configurations: [at(0, 0)] });
    expect(one.passed(149)).toEqual([]);
    expect(one.passed(150)).toEqual([7]);
  });

  it('waits, when somebody tells of newer members, until it knows them and has a quorum of those', () => {
    const known = { place: at(0, 0), voters: ['a', 'b', 'c'] };
    const one = barriers(known);
    one.begin(7, 100);
    one.answer('b', { id: 1, timestamp: 150, configurations: [at(3, 40)] });
    one.recount();
    expect(one.passed(1_000)).toEqual([]);
    // The entry comes: five members now, of which two have answered.
    Object.assign(known, { place: at(3, 40), voters: ['a', 'b', 'c', 'd', 'e'] });
    one.recount();
    expect(one.passed(1_000)).toEqual([]);
    expect(one.asks(0, 50)[0]?.missing('d')).toBe(true);
    one.answer('d', { id: 1, timestamp: 900, configurations: [at(3, 40)] });
    expect(one.passed(899)).toEqual([]);
    expect(one.passed(900)).toEqual([7]);
  });

  it('takes the later term for the newer configuration, wherever its entry lies', () => {
    expect(isAtLeast(at(4, 10), at(3, 90))).toBe(true);
    expect(isAtLeast(at(3, 90), at(4, 10))).toBe(false);
    expect(isAtLeast(at(3, 10), at(3, 10))).toBe(true);
    const one = barriers({ place: at(3, 90), voters: ['a', 'b', 'c'] });
    one.begin(7, 100);
    one.answer('b', { id: 1, timestamp: 100, configurations: [at(4, 10)] });
    one.answer('c', { id: 1, timestamp: 100, configurations: [at(2, 5)] });
    expect(one.passed(1_000)).toEqual([]);
  });
});
