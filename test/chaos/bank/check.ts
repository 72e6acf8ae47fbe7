/**
 * Judges what clients of the bank saw. Pure: events in, complaints out.
 *
 * 1. Every read is whole: all accounts, none below zero, and the sum is the total (one query sees
 *    one state).
 * 2. Reads are of one history of states: of two reads one has every account at the version of the
 *    other or later. The same version of an account is the same balance, of the same transfer.
 * 3. Reads keep real time (T6): what was read, or acknowledged, before a read began, is at that
 *    version or later in it.
 * 4. Transfers are whole (T8): no read shows one of the two accounts of a transfer that was
 *    acknowledged and the other one from before it. No two acknowledged transfers made the same
 *    version. One that has failed for certain is in no read.
 * 5. Transfers do once what they say. What one was told that it made is by it wherever it is read,
 *    and is one version after what it expected. Between these two versions of an account its amount
 *    has moved. The state machine said no to none whose expectation was true all the while.
 */
import type { Account, BankEvent, Transfer } from './format.js';

interface Read {
  readonly process: number;
  readonly start: number;
  readonly end: number;
  readonly accounts: readonly Account[];
}

/** A transfer that was asked for once, and refused by the state machine. */
interface Rejected {
  readonly transfer: Transfer;
  readonly start: number;
  readonly end: number;
}

interface Made {
  readonly id: string;
  readonly transfer: Transfer;
  /** Account and the version that the transfer made of it. */
  readonly accounts: readonly (readonly [account: number, version: number])[];
  readonly end: number;
}

export interface BankOptions {
  readonly accounts: number;
  readonly total: number;
}

export interface BankReport {
  readonly reads: number;
  readonly transfers: number;
  /** In sentences. */
  readonly complaints: readonly string[];
}

export function checkBank(events: readonly BankEvent[], options: BankOptions): BankReport {
  const { reads, made, failed, judged, transfers, rejected } = collect(events);
  const complaints: string[] = [];
  const whole = [...reads].filter((read) => {
    const fault = brokenness(read, options);
    if (fault !== undefined) complaints.push(`process ${read.process} read ${fault} at ${read.start} µs`);
    return fault === undefined;
  });
  complaints.push(...differentValues(whole), ...unordered(whole), ...stale(whole, made), ...torn(whole, made));
  complaints.push(...madeTwice(made), ...risen(whole, failed));
  complaints.push(...notBy(whole, made), ...notOnce(made), ...otherAmounts(whole, transfers));
  complaints.push(...wronglyRejected(whole, made, rejected));
  for (const { id } of made) if (judged.has(id)) complaints.push(`transfer ${id} was both acknowledged and rejected`);
  return { reads: reads.length, transfers: made.length, complaints };
}

interface Collected {
  readonly reads: readonly Read[];
  readonly made: readonly Made[];
  /**
   * Ids of transfers that have not taken effect and never will; `judged`: because the state machine
   * said no.
   */
  readonly failed: ReadonlySet<string>;
  readonly judged: ReadonlySet<string>;
  readonly transfers: ReadonlyMap<string, Transfer>;
  readonly rejected: readonly Rejected[];
}

function collect(events: readonly BankEvent[]): Collected {
  const begun = new Map<number, number>();
  const transfers = new Map<string, Extract<BankEvent, { f: 'transfer'; type: 'invoke' }>>();
  const reads: Read[] = [];
  const made = new Map<string, Made>();
  const failed = new Set<string>();
  const judged = new Set<string>();
  const attempts = new Map<string, number>();
  const rejections = new Map<string, Rejected>();
  const open = new Set<string>();
  for (const event of events) {
    const { process, time } = event;
    if (event.type === 'invoke') begun.set(process, time);
    if (event.f === 'read') {
      if (event.type === 'ok') {
        reads.push({ process, start: begun.get(process) ?? time, end: time, accounts: event.accounts });
      }
    } else if (event.type === 'invoke') {
      transfers.set(event.id, event);
      attempts.set(event.id, 1 + (attempts.get(event.id) ?? 0));
      // An attempt without an answer at the end of the history is open as well.
      open.add(`${event.id}/${process}/${time}`);
    } else {
      const { id } = event;
      const transfer = transfers.get(id);
      if (transfer === undefined) continue;
      const attempt = `${id}/${process}/${begun.get(process)}`;
      if (event.type !== 'unknown') open.delete(attempt);
      if (event.type === 'fail') failed.add(id);
      if (event.type === 'fail' && event.error === 'REJECTED') {
        judged.add(id);
        rejections.set(id, { transfer, start: begun.get(process) ?? time, end: time });
      }
      if (event.type === 'ok' && !made.has(id)) {
        const [from = 0, to = 0] = event.versions;
        made.set(id, {
          id,
          transfer,
          accounts: [
            [transfer.from, from],
            [transfer.to, to],
          ],
          end: time,
        });
      }
    }
  }
  // A refusal is certain for its own attempt only; an attempt that is open may have taken effect
  // (T9).
  for (const attempt of open) failed.delete(attempt.slice(0, attempt.indexOf('/')));
  for (const id of made.keys()) failed.delete(id);
  // All attempts of one id have the outcome of the first that was executed (T8).
  for (const id of judged) failed.add(id);
  const rejected = [...rejections].flatMap(([id, one]) => (attempts.get(id) === 1 ? [one] : []));
  return { reads, made: [...made.values()], failed, judged, transfers, rejected };
}

function brokenness({ accounts }: Read, { accounts: count, total }: BankOptions): string | undefined {
  if (accounts.length !== count) return `${accounts.length} accounts of ${count}`;
  const sum = accounts.reduce((all, { balance }) => all + balance, 0);
  if (sum !== total) return `a total of ${sum}, which is ${total}`;
  const below = accounts.findIndex(({ balance }) => balance < 0);
  return below < 0 ? undefined : `account ${below} below zero`;
}

function differentValues(reads: readonly Read[]): string[] {
  const known = new Map<string, string>();
  const complaints: string[] = [];
  for (const { accounts } of reads) {
    for (const [account, { version, balance, by }] of accounts.entries()) {
      const place = `version ${version} of account ${account}`;
      const value = `${balance} by ${by}`;
      const other = known.get(place);
      known.set(place, value);
      if (other !== undefined && other !== value) complaints.push(`${place} was read as ${other} and as ${value}`);
    }
  }
  return complaints;
}

function age({ accounts }: Read): number {
  return accounts.reduce((sum, { version }) => sum + version, 0);
}

function versionIn({ accounts }: Read, account: number): number {
  return accounts[account]?.version ?? 0;
}

/**
 * In the order of the states that they saw: by the sum of the versions, which every transfer
 * raises.
 */
function byAge(reads: readonly Read[]): Read[] {
  return [...reads].sort((a, b) => age(a) - age(b));
}

function unordered(reads: readonly Read[]): string[] {
  const sorted = byAge(reads);
  return sorted.flatMap((read, at) => {
    const before = sorted[at - 1];
    if (before === undefined) return [];
    const back = before.accounts.findIndex(({ version }, account) => version > versionIn(read, account));
    if (back < 0) return [];
    return [`the reads at ${before.start} and ${read.start} µs are of no one history: see account ${back}`];
  });
}

/** A read that has not what was told before it began. */
function stale(reads: readonly Read[], made: readonly Made[]): string[] {
  const told = [
    ...reads.map(({ end, accounts, start }) => ({
      end,
      what: `the read at ${start} µs`,
      versions: accounts.map(({ version }, account) => [account, version] as const),
    })),
    ...made.map(({ end, id, accounts }) => ({ end, what: `transfer ${id}`, versions: accounts })),
  ].sort((a, b) => a.end - b.end);
  const newest = new Map<number, { version: number; what: string }>();
  const complaints: string[] = [];
  let next = 0;
  for (const read of [...reads].sort((a, b) => a.start - b.start)) {
    // Equal times count as concurrent.
    for (let one = told[next]; one !== undefined && one.end < read.start; one = told[++next]) {
      for (const [account, version] of one.versions) {
        if (version > (newest.get(account)?.version ?? 0)) newest.set(account, { version, what: one.what });
      }
    }
    for (const [account, { version, what }] of newest) {
      const seen = versionIn(read, account);
      if (seen >= version) continue;
      complaints.push(
        `process ${read.process} at ${read.start} µs read account ${account} at version ${seen}, but ${what} had told ${version}`,
      );
    }
  }
  return complaints;
}

/**
 * Of reads in order, the first that has both accounts of a transfer is the first that has either.
 */
function torn(reads: readonly Read[], made: readonly Made[]): string[] {
  const sorted = byAge(reads);
  const firstWith = (account: number, version: number): number => {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const read = sorted[middle];
      if (read !== undefined && versionIn(read, account) >= version) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  return made.flatMap(({ id, accounts }) => {
    const [from = 0, to = 0] = accounts.map(([account, version]) => firstWith(account, version));
    if (from === to) return [];
    return [`half of transfer ${id} is in the read at ${sorted[Math.min(from, to)]?.start} µs`];
  });
}

function madeTwice(made: readonly Made[]): string[] {
  const makers = new Map<string, string>();
  const complaints: string[] = [];
  for (const { id, accounts } of made) {
    for (const [account, version] of accounts) {
      const place = `version ${version} of account ${account}`;
      const other = makers.get(place);
      if (other !== undefined) complaints.push(`transfers ${other} and ${id} both made ${place}`);
      makers.set(place, id);
    }
  }
  return complaints;
}

function risen(reads: readonly Read[], failed: ReadonlySet<string>): string[] {
  const found = new Set(reads.flatMap(({ accounts }) => accounts.map(({ by }) => by)).filter((by) => failed.has(by)));
  return [...found].map((id) => `transfer ${id} was refused for certain, but has been read`);
}

const placeOf = (account: number, version: number): string => `version ${version} of account ${account}`;

/**
 * What an acknowledged transfer made must be read as made by it: else it was lost, and another one
 * stands in its place.
 */
function notBy(reads: readonly Read[], made: readonly Made[]): string[] {
  const makers = new Map<string, string>();
  for (const { id, accounts } of made)
    for (const [account, version] of accounts) makers.set(placeOf(account, version), id);
  const complaints = new Set<string>();
  for (const { accounts } of reads) {
    for (const [account, { version, by }] of accounts.entries()) {
      const place = placeOf(account, version);
      const maker = makers.get(place);
      if (maker !== undefined && maker !== by)
        complaints.add(`transfer ${maker} made ${place}, which was read as by ${by}`);
    }
  }
  return [...complaints];
}

function notOnce(made: readonly Made[]): string[] {
  return made.flatMap(({ id, accounts, transfer }) =>
    accounts.flatMap(([account, version], at) => {
      const expected = transfer.versions[at] ?? 0;
      return version === expected + 1
        ? []
        : [`transfer ${id} of ${placeOf(account, expected)} made version ${version}`];
    }),
  );
}

function otherAmounts(reads: readonly Read[], transfers: ReadonlyMap<string, Transfer>): string[] {
  const found = new Map<string, Account>();
  for (const { accounts } of reads) {
    for (const [number, account] of accounts.entries()) found.set(placeOf(number, account.version), account);
  }
  const complaints: string[] = [];
  for (const [id, { from, to, amount, versions }] of transfers) {
    for (const [account, version, change] of [
      [from, versions[0], -amount],
      [to, versions[1], amount],
    ] as const) {
      const before = found.get(placeOf(account, version));
      const after = found.get(placeOf(account, version + 1));
      if (before === undefined || after === undefined || after.by !== id) continue;
      const moved = after.balance - before.balance;
      if (moved !== change) complaints.push(`transfer ${id} changed account ${account} by ${moved}, not by ${change}`);
    }
  }
  return complaints;
}

/**
 * Versions only grow: what was told before, and is still the same in a read that began afterwards,
 * was so in between.
 */
function wronglyRejected(reads: readonly Read[], made: readonly Made[], rejected: readonly Rejected[]): string[] {
  const isTold = (account: number, version: number, before: number): boolean =>
    reads.some((read) => read.end < before && versionIn(read, account) >= version) ||
    made.some((one) => one.end < before && one.accounts.some(([other, to]) => other === account && to >= version));
  return rejected.flatMap(({ transfer: { id, from, to, versions }, start, end }) => {
    const isStill = reads.some(
      (read) => read.start > end && versionIn(read, from) === versions[0] && versionIn(read, to) === versions[1],
    );
    if (!isStill || !isTold(from, versions[0], start) || !isTold(to, versions[1], start)) return [];
    return [`transfer ${id} was rejected, though both accounts were as it expected`];
  });
}
