/** The judge of the bank finds each kind of wrong, and nothing in what is right. */
import { describe, expect, it } from 'vitest';
import { checkBank } from '../../chaos/bank/check.js';
import type { Account, BankEvent } from '../../chaos/bank/format.js';

const OPTIONS = { accounts: 2, total: 20 };
let time = 0;

function account(balance: number, version: number, by = ''): Account {
  return { balance, version, by };
}

function read(process: number, ...accounts: Account[]): BankEvent[] {
  return [
    { type: 'invoke', process, time: ++time, f: 'read' },
    { type: 'ok', process, time: ++time, f: 'read', accounts },
  ];
}

type Ending = 'ok' | 'unknown' | 'UNAVAILABLE' | 'REJECTED' | 'none';

/** Of 5 from account 0 to account 1, when both have this version. */
function transfer(id: string, ending: Ending, version = 1, process = 9): BankEvent[] {
  const f = 'transfer';
  const versions = [version, version] as const;
  const begin: BankEvent = { type: 'invoke', process, time: ++time, f, id, from: 0, to: 1, amount: 5, versions };
  if (ending === 'none') return [begin];
  const at = { process, time: ++time, f, id } as const;
  if (ending === 'ok') {
    const made = [version + 1, version + 1];
    return [begin, { ...at, type: 'ok', versions: made, group: 0, timestamp: 1, index: 1 }];
  }
  const isUnknown = ending === 'unknown';
  return [begin, { ...at, type: isUnknown ? 'unknown' : 'fail', error: isUnknown ? 'timeout' : ending }];
}

const BEFORE = [account(10, 1), account(10, 1)];
const AFTER = [account(5, 2, 'a'), account(15, 2, 'a')];

function complaints(...events: BankEvent[][]): readonly string[] {
  return checkBank(events.flat(), OPTIONS).complaints;
}

describe('what is right', () => {
  it('a transfer between two reads', () => {
    const events = [...read(0, ...BEFORE), ...transfer('a', 'ok'), ...read(0, ...AFTER)];
    expect(checkBank(events, OPTIONS)).toEqual({ reads: 2, transfers: 1, complaints: [] });
  });

  it.each<Ending>(['unknown', 'none'])('a transfer whose end is %s has happened, or has not', (ending) => {
    expect(complaints(transfer('a', ending), read(0, ...AFTER))).toEqual([]);
    expect(complaints(transfer('a', ending), read(0, ...BEFORE))).toEqual([]);
  });

  it('a transfer that was refused when it was asked for again: the first attempt may have been executed', () => {
    const events = [transfer('a', 'unknown'), transfer('a', 'UNAVAILABLE'), read(0, ...AFTER)];
    expect(complaints(...events)).toEqual([]);
  });

  it('a read that is concurrent to a transfer', () => {
    const [begin, end] = read(0, ...BEFORE);
    const events = transfer('a', 'ok');
    // The read began before the transfer ended.
    expect(begin && end && complaints([begin], events, [{ ...end, time: ++time }])).toEqual([]);
  });
});

describe('what is wrong', () => {
  it('a read without all accounts', () => {
    expect(complaints(read(0, account(20, 1)))).toEqual([expect.stringContaining('1 accounts of 2')]);
  });

  it('a read of another total', () => {
    expect(complaints(read(0, account(5, 2, 'a'), account(10, 1)))).toEqual([expect.stringContaining('total of 15')]);
  });

  it('a read of less than nothing', () => {
    expect(complaints(read(0, account(-5, 2), account(25, 2)))).toEqual([expect.stringContaining('below zero')]);
  });

  it('one version of an account with two balances', () => {
    const events = [read(0, ...AFTER), read(0, account(7, 2, 'b'), account(13, 2, 'b'))];
    expect(complaints(...events)).toContainEqual(
      expect.stringMatching(/version 2 of account 0 was read as 5 by a and/),
    );
  });

  it('reads that no one history has', () => {
    const [one, other] = [
      [account(10, 3, 'x'), account(10, 1)],
      [account(10, 1), account(10, 3, 'y')],
    ];
    const [beginOne, endOne] = read(0, ...(one ?? []));
    const [beginOther, endOther] = read(1, ...(other ?? []));
    // Concurrent, so that real time has nothing against them.
    const events = [beginOne, beginOther, endOne, endOther].flatMap((event, at) =>
      event === undefined ? [] : [{ ...event, time: time + at }],
    );
    expect(complaints(events)).toEqual([expect.stringContaining('no one history')]);
  });

  it('a read that has not what was read before', () => {
    expect(complaints(read(0, ...AFTER), read(1, ...BEFORE))).toContainEqual(
      expect.stringMatching(/process 1 .* read account 0 at version 1, but the read .* had told 2/),
    );
  });

  it('a read that has not what was acknowledged before', () => {
    expect(complaints(transfer('a', 'ok'), read(1, ...BEFORE))).toContainEqual(
      expect.stringMatching(/read account 0 at version 1, but transfer a had told 2/),
    );
  });

  it('half of a transfer', () => {
    const half = [account(5, 2, 'a'), account(15, 1)];
    expect(complaints(transfer('a', 'ok'), read(0, ...half))).toContainEqual(
      expect.stringContaining('half of transfer a'),
    );
  });

  it('two transfers that made one version', () => {
    expect(complaints(transfer('a', 'ok'), transfer('b', 'ok'))).toContainEqual(
      'transfers a and b both made version 2 of account 0',
    );
  });

  it('a transfer that was refused and has happened', () => {
    expect(complaints(transfer('a', 'UNAVAILABLE'), read(0, ...AFTER))).toEqual([
      expect.stringContaining('transfer a was refused for certain'),
    ]);
    // The state machine's no is for all attempts (T8).
    expect(complaints(transfer('a', 'unknown'), transfer('a', 'REJECTED'), read(0, ...AFTER))).toHaveLength(1);
    expect(complaints(transfer('a', 'ok'), transfer('a', 'REJECTED'))).toEqual([
      'transfer a was both acknowledged and rejected',
    ]);
  });

  it('an acknowledged transfer in whose place another one is read', () => {
    const other = [account(5, 2, 'b'), account(15, 2, 'b')];
    expect(complaints(transfer('a', 'ok'), transfer('b', 'unknown'), read(0, ...other))).toContainEqual(
      'transfer a made version 2 of account 0, which was read as by b',
    );
    expect(complaints(transfer('a', 'ok'), transfer('b', 'unknown'), read(0, ...AFTER))).toEqual([]);
  });

  it('a transfer that was executed twice', () => {
    const [begin, end] = transfer('a', 'ok');
    const twice = { ...end, versions: [3, 3] } as BankEvent;
    expect(begin && complaints([begin, twice])).toEqual([
      'transfer a of version 1 of account 0 made version 3',
      'transfer a of version 1 of account 1 made version 3',
    ]);
  });

  it('a transfer of another amount', () => {
    const wrong = [account(0, 2, 'a'), account(20, 2, 'a')];
    expect(complaints(read(0, ...BEFORE), transfer('a', 'unknown'), read(0, ...wrong))).toEqual([
      'transfer a changed account 0 by -10, not by -5',
      'transfer a changed account 1 by 10, not by 5',
    ]);
  });

  it('a transfer that was rejected, though nothing had changed', () => {
    const events = [read(0, ...BEFORE), transfer('a', 'REJECTED'), read(0, ...BEFORE)];
    expect(complaints(...events)).toEqual(['transfer a was rejected, though both accounts were as it expected']);
    // Told by an acknowledgement, not by a read.
    const acknowledged = [
      transfer('b', 'ok'),
      transfer('a', 'REJECTED', 2),
      read(0, account(5, 2, 'b'), account(15, 2, 'b')),
    ];
    expect(complaints(...acknowledged)).toEqual(['transfer a was rejected, though both accounts were as it expected']);
  });

  it('but not a transfer that may have been rejected rightly', () => {
    // Of several attempts the first may have found the accounts otherwise.
    const again = [read(0, ...BEFORE), transfer('a', 'unknown'), transfer('a', 'REJECTED')];
    expect(complaints(...again, read(0, ...BEFORE))).toEqual([]);
    // Another one changed the accounts meanwhile.
    const later = [account(5, 2, 'b'), account(15, 2, 'b')];
    const changed = [read(0, ...BEFORE), transfer('b', 'unknown'), transfer('a', 'REJECTED'), read(0, ...later)];
    expect(complaints(...changed)).toEqual([]);
    // Nobody was told before it that the accounts had come so far.
    expect(complaints(transfer('a', 'REJECTED'), read(0, ...BEFORE))).toEqual([]);
    // A read that ended only after it had begun tells nothing of the time before.
    const [begin, end] = read(0, ...BEFORE);
    const refused = transfer('a', 'REJECTED');
    const late = end && { ...end, time: ++time };
    expect(begin && late && complaints([begin], refused, [late], read(1, ...BEFORE))).toEqual([]);
  });
});
