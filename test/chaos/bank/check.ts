/**
 * Judges what clients of the bank saw. Pure: events in, complaints out.
 *
 * 1. Every read is whole: all accounts, none below zero, and the sum is the total (one query sees one state).
 * 2. Reads are of one history of states: of two reads one has every account at the version of the other or later. The same version of an
 *    account is the same balance, of the same transfer.
 * 3. Reads keep real time (T6): what was read, or acknowledged, before a read began, is at that version or later in it.
 * 4. Transfers are whole (T8): no read shows one of the two accounts of a transfer that was acknowledged and the other one
 *    from before it; no two acknowledged transfers made the same version; one that has failed for certain is in no read.
 */
import type { Account, BankEvent } from './format.js';

interface Read {
  readonly process: number;
  readonly start: number;
  readonly end: number;
  readonly accounts: readonly Account[];
}

interface Made {
  readonly id: string;
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
  const { reads, made, failed, judged } = collect(events);
  const complaints: string[] = [];
  const whole = [...reads].filter((read) => {
    const fault = brokenness(read, options);
    if (fault !== undefined) complaints.push(`process ${read.process} read ${fault} at ${read.start} µs`);
    return fault === undefined;
  });
  complaints.push(...differentValues(whole), ...unordered(whole), ...stale(whole, made), ...torn(whole, made));
  complaints.push(...madeTwice(made), ...risen(whole, failed));
  for (const { id } of made) if (judged.has(id)) complaints.push(`transfer ${id} was both acknowledged and rejected`);
  return { reads: reads.length, transfers: made.length, complaints };
}

interface Collected {
  readonly reads: readonly Read[];
  readonly made: readonly Made[];
  /** Ids of transfers that have not taken effect and never will; `judged`: because the state machine said no. */
  readonly failed: ReadonlySet<string>;
  readonly judged: ReadonlySet<string>;
}

function collect(events: readonly BankEvent[]): Collected {
  const begun = new Map<number, number>();
  const transfers = new Map<string, Extract<BankEvent, { f: 'transfer'; type: 'invoke' }>>();
  const reads: Read[] = [];
  const made = new Map<string, Made>();
  const failed = new Set<string>();
  const judged = new Set<string>();
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
      // An attempt without an answer at the end of the history is open as well.
      open.add(`${event.id}/${process}/${time}`);
    } else {
      const { id } = event;
      const transfer = transfers.get(id);
      if (transfer === undefined) continue;
      const attempt = `${id}/${process}/${begun.get(process)}`;
      if (event.type !== 'unknown') open.delete(attempt);
      if (event.type === 'fail') failed.add(id);
      if (event.type === 'fail' && event.error === 'REJECTED') judged.add(id);
      if (event.type === 'ok' && !made.has(id)) {
        const [from = 0, to = 0] = event.versions;
        made.set(id, {
          id,
          accounts: [
            [transfer.from, from],
            [transfer.to, to],
          ],
          end: time,
        });
      }
    }
  }
  // A refusal is certain for its own attempt only; an attempt that is open may have taken effect (T9).
  for (const attempt of open) failed.delete(attempt.slice(0, attempt.indexOf('/')));
  for (const id of made.keys()) failed.delete(id);
  // All attempts of one id have the outcome of the first that was executed (T8).
  for (const id of judged) failed.add(id);
  return { reads, made: [...made.values()], failed, judged };
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

/** In the order of the states that they saw: by the sum of the versions, which every transfer raises. */
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

/** Of reads in order, the first that has both accounts of a transfer is the first that has either. */
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
