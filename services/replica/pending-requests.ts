/**
 * Requests that the core answers later: where the answer to each number goes. Bounded in number and
 * age.
 */
import type { MonotonicMs } from '../../shared/raft/entry.js';

/** After this a requester has long asked again (milliseconds). */
const AGE_MS_MAX = 30_000;

export class PendingRequests<Request, Answer> {
  private readonly byId = new Map<number, { respond: (answer: Answer) => void; sinceMs: MonotonicMs }>();
  private next = 1;

  /** `max`: so many wait at once; the oldest gives way to a new one, and gets no answer. */
  constructor(
    private readonly max: number,
    private readonly begin: (id: number, request: Request) => void,
    private readonly forget: (id: number) => void,
  ) {}

  /** Hands a request to the core. */
  add(request: Request, respond: (answer: Answer) => void): void {
    const id = this.next++;
    const nowMs = performance.now();
    this.byId.set(id, { respond, sinceMs: nowMs });
    for (const [old, { sinceMs }] of this.byId) {
      if (this.byId.size <= this.max && nowMs - sinceMs <= AGE_MS_MAX) break;
      this.byId.delete(old);
      this.forget(old);
    }
    this.begin(id, request);
  }

  answer(id: number, answer: Answer): void {
    this.byId.get(id)?.respond(answer);
    this.byId.delete(id);
  }
}
