/** Requests of others that the core answers later: each has a number until then. */
export class Requests<T> {
  private next = 1;
  private readonly waiting = new Map<number, (answer: T) => void>();

  /** Begins one; resolves with its answer. */
  ask(begin: (request: number) => void): Promise<T> {
    const request = this.next++;
    return new Promise((resolve) => {
      this.waiting.set(request, resolve);
      begin(request);
    });
  }

  answer(request: number, answer: T): void {
    const resolve = this.waiting.get(request);
    this.waiting.delete(request);
    resolve?.(answer);
  }
}
