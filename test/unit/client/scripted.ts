/** Services that answer a client by a script, over a NATS server of their own. */
import '../../../shared/wire/protobuf.js';
import { connect, type Msg, type NatsConnection, type Subscription } from 'nats';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { type CraftClient, connectCraft } from '../../../shared/client/index.js';
import { decodeCommandBatch } from '../../../shared/wire/command-batch.js';
import { craft } from '../../../shared/wire/generated/craft.js';
import { WireError } from '../../../shared/wire/wire-error.js';
import { startTestNats, type TestNats } from '../../harness/index.js';

export const { ReplyBatch } = craft.v1;

interface Seen {
  readonly subject: string;
  /** Of a command. */
  readonly name?: string;
  readonly input: unknown;
  readonly id: string;
  readonly ack: string;
  readonly after: number;
  readonly traceparent: string;
}
/** A reply as JSON, `garbage` for bytes that are none, or `silence`. */
export type Answer = object | string;

export const applied = (index: number, timestamp: number) => ({
  ok: true,
  index,
  group: 1,
  timestamp,
  result: { version: 1 },
});
export const refused = (code: string) => ({
  ok: false,
  error: { code, message: `because ${code}`, retryable: false },
});

/** What `work` rejects with. */
export async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    (value) => {
      throw new Error(`expected a failure, got ${JSON.stringify(value)}`);
    },
    (error: unknown) => error,
  );
}

/** To be made at the top of a file: it starts before the file's tests, and stops after them. */
export class ScriptedServices {
  /** Of this test. */
  client!: CraftClient;
  responder!: NatsConnection;
  seen: Seen[] = [];
  /** Commands in each message. */
  messages: number[] = [];
  /** Answers in order; the last one repeats. */
  script: Answer[] = [];
  private server!: TestNats;
  private readonly open = new Set<Subscription>();

  constructor() {
    beforeAll(async () => {
      this.server = await startTestNats();
      this.responder = await connect({ servers: this.url });
    });
    afterAll(async () => {
      await this.responder.close();
      await this.server.stop();
    });
    beforeEach(async () => {
      this.seen = [];
      this.messages = [];
      this.client = await connectCraft({ servers: this.url, timeoutMs: 1_500, attemptTimeoutMs: 200 });
    });
    afterEach(async () => {
      for (const subscription of this.open) subscription.unsubscribe();
      this.open.clear();
      await this.client.close();
    });
  }

  get url(): string {
    return this.server.url;
  }

  /** Answers by this script, until the test ends or the returned function is called. */
  async respond(subject: string, answers: Answer[]): Promise<() => Promise<void>> {
    this.script = answers;
    const subscription = await this.listen(subject, (message) => this.answer(message));
    return async () => {
      subscription.unsubscribe();
      await this.responder.flush();
    };
  }

  /** Answers in a way of its own until the test ends. */
  async listen(subject: string, take: (message: Msg) => unknown): Promise<Subscription> {
    const subscription = this.responder.subscribe(subject, { callback: (_error, message) => void take(message) });
    this.open.add(subscription);
    await this.responder.flush();
    return subscription;
  }

  private next(): Answer {
    return (this.script.length > 1 ? this.script.shift() : this.script[0]) ?? 'silence';
  }

  private answer(message: Msg): void {
    if (message.subject.endsWith('batch')) {
      this.answerBatch(message);
      return;
    }
    const header = (name: string) => message.headers?.get(name) ?? '';
    const { subject } = message;
    this.seen.push({ subject, input: message.json(), id: '', ack: '', after: 0, traceparent: header('traceparent') });
    const one = this.next();
    if (one !== 'silence') message.respond(typeof one === 'string' ? one : JSON.stringify(one));
  }

  /** An answer of the script to each command, all in one message. */
  private answerBatch(message: Msg): void {
    const { inbox, firstNumber, commands } = decodeCommandBatch(message.data);
    this.messages.push(commands.length);
    const replies: craft.v1.ICommandReply[] = [];
    for (const [at, command] of commands.entries()) {
      if (command instanceof WireError) throw command;
      const { name, id, acknowledgement: ack, after, traceparent } = command;
      const input: unknown = JSON.parse(Buffer.from(command.payload).toString());
      this.seen.push({ subject: message.subject, name, input, id, ack, after, traceparent });
      const one = this.next();
      if (one === 'garbage') this.responder.publish(inbox, new Uint8Array([0x0f, 1, 2]));
      if (typeof one === 'string') continue;
      const { result, ...reply } = one as craft.v1.ICommandReply & { result?: unknown };
      const resultJson = result === undefined ? {} : { resultJson: JSON.stringify(result) };
      replies.push({ ...reply, ...resultJson, number: firstNumber + at });
    }
    if (replies.length > 0) this.responder.publish(inbox, ReplyBatch.encode({ replies }).finish());
  }
}
