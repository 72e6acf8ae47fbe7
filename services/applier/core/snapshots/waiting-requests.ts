/** Requests that wait for a snapshot. Of too many, the oldest ones are refused. */

const WAITING_MAX = 16;

export class WaitingRequests<Wish, Answer> {
  private readonly wishes = new Map<number, Wish>();

  constructor(private readonly tell: (request: number, answer: Answer | null) => void) {}

  get size(): number {
    return this.wishes.size;
  }

  /** Oldest first. A request may be answered on the way. */
  [Symbol.iterator](): Iterator<[number, Wish]> {
    return this.wishes.entries();
  }

  add(request: number, wish: Wish): void {
    for (const oldest of this.wishes.keys()) {
      if (this.wishes.size < WAITING_MAX) break;
      this.answer(oldest, null);
    }
    this.wishes.set(request, wish);
  }

  /** Null: refused. */
  answer(request: number, answer: Answer | null): void {
    this.wishes.delete(request);
    this.tell(request, answer);
  }

  refuseAll(): void {
    for (const request of this.wishes.keys()) this.answer(request, null);
  }
}
