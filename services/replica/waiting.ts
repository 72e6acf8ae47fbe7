/** Requests on NATS that the core answers later: which message each number belongs to. Bounded in number and age. */
import type { Msg } from '@nats-io/nats-core';

/** More than one requester is only there while one service replaces another. */
const WAITING_MAX = 8;
/** After this a requester has long asked again (milliseconds). */
const AGE_MS_MAX = 30_000;

export class Waiting<Request> {
  private readonly byId = new Map<number, { message: Msg; sinceMs: number }>();
  private next = 1;

  constructor(
    private readonly begin: (id: number, request: Request) => void,
    private readonly forget: (id: number) => void,
  ) {}

  /** Hands a request to the core; one that wants no answer is ignored. */
  add(message: Msg, request: Request): void {
    if (!message.reply) return;
    const id = this.next++;
    const nowMs = performance.now();
    this.byId.set(id, { message, sinceMs: nowMs });
    for (const [old, { sinceMs }] of this.byId) {
      if (this.byId.size <= WAITING_MAX && nowMs - sinceMs <= AGE_MS_MAX) break;
      this.byId.delete(old);
      this.forget(old);
    }
    this.begin(id, request);
  }

  answer(id: number, data: Uint8Array): void {
    this.byId.get(id)?.message.respond(data);
    this.byId.delete(id);
  }
}
