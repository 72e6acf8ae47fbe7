/**
 * One client of the bank: one operation at a time, with a connection of its own; reads all
 * balances, and transfers between two.
 */
import { headers, type NatsConnection } from 'nats';
import { Requester } from '../../../shared/client/requester.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import type { Random } from '../random.js';
import { type Answer, ask } from '../request.js';
import type { Account, BankEvent, Transfer } from './format.js';

const PREFIX = 'bank/';
const PAUSE_AFTER_FAILURE_MS = 20;
const AMOUNT_MAX = 10;

export interface BankProcessOptions {
  readonly connection: NatsConnection;
  readonly cluster: string;
  readonly accounts: number;
  readonly random: Random;
  readonly timeoutMs: number;
  readonly thinkMs: number;
  /** Microseconds. */
  readonly nowUs: () => number;
  readonly record: (event: BankEvent) => void;
}

/** What is not told of an event by its kind. */
type Outcome<T> = T extends BankEvent ? Omit<T, 'process' | 'time'> : never;

export class BankProcess {
  private readonly requester: Requester;
  private readonly subjects: Subjects;
  /** As this client saw it last; empty: it does not know. */
  private accounts: readonly Account[] = [];
  private count = 0;

  constructor(
    readonly number: number,
    private readonly options: BankProcessOptions,
  ) {
    this.requester = new Requester(options.connection);
    this.subjects = new Subjects(options.cluster);
  }

  /** Before the first operation. */
  start(): void {
    this.requester.start();
  }

  async run(isOver: () => boolean): Promise<void> {
    const { random, thinkMs } = this.options;
    while (!isOver()) {
      const isGood = await this.one();
      await pause(isGood ? random.between(0, 2 * thinkMs) : PAUSE_AFTER_FAILURE_MS);
    }
  }

  /** A read, until one succeeds or `isOver`; returns whether one did. */
  async readSurely(isOver: () => boolean): Promise<boolean> {
    while (!isOver()) {
      if (await this.read()) return true;
      await pause(PAUSE_AFTER_FAILURE_MS);
    }
    return false;
  }

  private async one(): Promise<boolean> {
    const { random } = this.options;
    const transfer = random.chance(0.4) ? undefined : this.plan();
    if (transfer === undefined) return this.read();
    let answer = await this.transfer(transfer);
    // Some ask what became of it, as clients do; others leave it open.
    if (answer.outcome === 'unknown' && random.chance(0.5)) answer = await this.transfer(transfer);
    if (answer.outcome !== 'ok') this.accounts = [];
    return answer.outcome === 'ok' || answer.error === 'REJECTED';
  }

  /** Undefined when nothing is known, or the account chosen is empty. */
  private plan(): Transfer | undefined {
    const { random, accounts } = this.options;
    const from = Math.floor(random.next() * accounts);
    const to = (from + 1 + Math.floor(random.next() * (accounts - 1))) % accounts;
    const payer = this.accounts[from];
    const payee = this.accounts[to];
    if (payer === undefined || payee === undefined || payer.balance === 0) return undefined;
    const amount = 1 + Math.floor(random.next() * Math.min(AMOUNT_MAX, payer.balance));
    const id = `bank-${this.number}-${this.count++}`;
    return { id, from, to, amount, versions: [payer.version, payee.version] };
  }

  private async read(): Promise<boolean> {
    const { accounts, timeoutMs } = this.options;
    const f = 'read';
    this.record({ type: 'invoke', f });
    const input = { prefix: PREFIX, limit: accounts + 1 };
    const answer = await ask(this.requester, { subject: this.subjects.query('kv.list'), input }, timeoutMs);
    if (answer.outcome !== 'ok') {
      this.record({ type: answer.outcome, f, error: answer.error });
      return false;
    }
    const rows = answer.success.result as readonly { value: { balance: number; by: string }; version: number }[];
    this.accounts = rows.map(({ value, version }) => ({ balance: value.balance, by: value.by, version }));
    this.record({ type: 'ok', f, accounts: this.accounts });
    return true;
  }

  /** Moves an amount when both accounts are as this client saw them (ifVersion). */
  private async transfer(transfer: Transfer): Promise<Answer> {
    const { id, from, to, amount, versions } = transfer;
    const f = 'transfer';
    this.record({ type: 'invoke', f, ...transfer });
    const put = (account: number, change: number, version: number) => {
      const value = { balance: (this.accounts[account]?.balance ?? 0) + change, by: id };
      return { put: { key: accountKey(account), value, ifVersion: version } };
    };
    const input = { ops: [put(from, -amount, versions[0]), put(to, amount, versions[1])] };
    const header = headers();
    header.set('Nats-Msg-Id', id);
    const subject = this.subjects.command('kv.txn');
    const answer = await ask(this.requester, { subject, input, header, id }, this.options.timeoutMs);
    if (answer.outcome !== 'ok') {
      this.record({ type: answer.outcome, f, id, error: answer.error });
      return answer;
    }
    const { group, timestamp, index, result } = answer.success;
    const made = (result as { results: { version: number }[] }).results.map(({ version }) => version);
    this.record({ type: 'ok', f, id, versions: made, group, timestamp, index });
    this.accounts = this.accounts.map((account, at) => {
      if (at !== from && at !== to) return account;
      const isPayer = at === from;
      const version = made[isPayer ? 0 : 1] ?? 0;
      return { balance: account.balance + (isPayer ? -amount : amount), version, by: id };
    });
    return answer;
  }

  private record(event: Outcome<BankEvent>): void {
    const { nowUs, record } = this.options;
    record({ ...event, process: this.number, time: nowUs() } as BankEvent);
  }
}

/** In byte order the order of the accounts, up to a thousand. */
export function accountKey(account: number): string {
  return `${PREFIX}${String(account).padStart(3, '0')}`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
