/**
 * One client of the register workload: one operation at a time, with a connection of its own. Every
 * write has a value of its own. None is retried behind the recorder's back. One that is asked for
 * again keeps its id and is recorded as an operation again.
 */
import { headers, type MsgHdrs, type NatsConnection } from 'nats';
import { Requester } from '../../shared/client/requester.js';
import { Subjects } from '../../shared/wire/subjects.js';
import type { Ack, Json, Outcome, Reply, Request } from './history/format.js';
import type { Recorder } from './history/recorder.js';
import type { Random } from './random.js';
import { ask } from './request.js';

export interface RegisterOptions {
  readonly connection: NatsConnection;
  readonly cluster: string;
  readonly groups: number;
  readonly keys: readonly [string, ...string[]];
  readonly recorder: Recorder;
  readonly random: Random;
  /** After it an operation counts as unknown (milliseconds). */
  readonly timeoutMs: number;
  /** Pause between two operations, on average (milliseconds). */
  readonly thinkMs: number;
  /** What all processes have seen: shared, so that Craft-After crosses from one to another. */
  readonly seen: { timestamp: number };
}

/** What one operation came to. */
interface Told {
  readonly outcome: Outcome;
  readonly reply: Reply;
}

const PAUSE_AFTER_FAILURE_MS = 20;

export class RegisterProcess {
  private readonly requester: Requester;
  private readonly subjects: Subjects;
  private readonly versions = new Map<string, number>();
  private newest = 0;
  private count = 0;

  constructor(
    readonly number: number,
    private readonly options: RegisterOptions,
  ) {
    this.requester = new Requester(options.connection);
    this.subjects = new Subjects(options.cluster);
  }

  /** Before the first operation. */
  start(): void {
    this.requester.start();
  }

  /** One operation after the other until `isOver`. */
  async run(isOver: () => boolean): Promise<void> {
    const { random, thinkMs } = this.options;
    while (!isOver()) {
      const told = await this.one();
      await pause(told.outcome === 'ok' ? random.between(0, 2 * thinkMs) : PAUSE_AFTER_FAILURE_MS);
    }
  }

  /** A read, until one succeeds or `isOver`; returns whether one did. */
  async readSurely(key: string, isOver: () => boolean): Promise<boolean> {
    while (!isOver()) {
      if ((await this.read(key)).outcome === 'ok') return true;
      await pause(PAUSE_AFTER_FAILURE_MS);
    }
    return false;
  }

  private async one(): Promise<Told> {
    const { random, keys } = this.options;
    const key = random.pick(keys);
    if (random.chance(0.45)) return this.read(key);
    const request = this.writeRequest(key);
    const told = await this.write(request);
    // Some ask what became of it, as clients do; others leave it open.
    const isSafe = request.id !== undefined;
    return told.outcome === 'unknown' && isSafe && random.chance(0.5) ? this.write(request) : told;
  }

  private writeRequest(key: string): Request {
    const { random, seen } = this.options;
    const name = `${this.number}-${this.count++}`;
    const ack = random.pick<Ack>(['applied', 'ordered', 'committed']);
    // Now and then another client has told this one what it has seen.
    const after = random.chance(0.5) ? 0 : random.chance(0.5) ? this.newest : seen.timestamp;
    const version = this.versions.get(key);
    const condition = version !== undefined && random.chance(0.1) ? version : undefined;
    return {
      f: condition === undefined ? 'write' : 'cas',
      key,
      value: name,
      ...(condition === undefined ? {} : { ifVersion: condition }),
      ack,
      ...(random.chance(0.9) ? { id: `history-${name}` } : {}),
      ...(after === 0 ? {} : { after }),
    };
  }

  private async write(request: Request): Promise<Told> {
    const { random, groups, seen } = this.options;
    const { key, value, ifVersion, ack, id, after } = request;
    const header = headers();
    if (id !== undefined) header.set('Nats-Msg-Id', id);
    if (ack !== undefined && ack !== 'applied') header.set('Craft-Ack', ack);
    if (after !== undefined) header.set('Craft-After', String(after));
    const group = Math.floor(random.next() * groups);
    const subject = random.chance(0.5) ? this.subjects.command('kv.put') : this.subjects.groupCommand(group, 'kv.put');
    const told = await this.ask(
      request,
      subject,
      { key, value, ...(ifVersion === undefined ? {} : { ifVersion }) },
      header,
    );
    const { timestamp = 0, version } = told.reply;
    this.newest = Math.max(this.newest, timestamp);
    seen.timestamp = Math.max(seen.timestamp, timestamp);
    if (version !== undefined) this.versions.set(key, version);
    return told;
  }

  private async read(key: string): Promise<Told> {
    const told = await this.ask({ f: 'read', key }, this.subjects.query('kv.get'), { key }, undefined);
    if (told.outcome === 'ok') this.versions.set(key, told.reply.version ?? 0);
    return told;
  }

  /** Asks once, and records what was asked and told. */
  private async ask(request: Request, subject: string, input: unknown, header: MsgHdrs | undefined): Promise<Told> {
    const complete = this.options.recorder.invoke(this.number, request);
    const told = await this.answer(request, subject, input, header);
    complete(told.outcome, told.reply);
    return told;
  }

  private async answer(request: Request, subject: string, input: unknown, header: MsgHdrs | undefined): Promise<Told> {
    const asked = { subject, input, ...(header && { header }), ...(request.id !== undefined && { id: request.id }) };
    const answer = await ask(this.requester, asked, this.options.timeoutMs);
    if (answer.outcome !== 'ok') return { outcome: answer.outcome, reply: { error: answer.error } };
    const result = answer.success.result as { value?: Json; version?: number } | null | undefined;
    const { version } = result ?? {};
    if (request.f === 'read') return { outcome: 'ok', reply: { value: result?.value ?? null, version } };
    const { group, timestamp, index } = answer.success;
    return { outcome: 'ok', reply: { group, timestamp, index, version } };
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
