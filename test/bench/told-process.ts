/**
 * A child process that does what it is told by messages of its parent, one after the other, and
 * answers each. A proxy runs in one: what else a benchmark does must not make it slower.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** The parent's side. */
export class ToldProcess<To extends object, From> {
  private last: Promise<unknown> = Promise.resolve();

  private constructor(private readonly child: ChildProcess) {}

  /** Resolves when the child listens. `program`: a module that calls `serveParent`. */
  static async start<To extends object, From>(program: URL): Promise<ToldProcess<To, From>> {
    const child = fork(fileURLToPath(program), { stdio: 'inherit' });
    await once(child, 'message');
    return new ToldProcess<To, From>(child);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** One at a time: answers have no names. Rejects with what the child failed with. */
  tell(message: To): Promise<From> {
    const answer = this.last.then(async () => {
      const heard = once(this.child, 'message');
      this.child.send(message);
      const [said] = (await heard) as [{ answer?: From; error?: string }];
      if (said.error !== undefined) throw new Error(said.error);
      return said.answer as From;
    });
    this.last = answer.catch(() => undefined);
    return answer;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.disconnect();
    await exit;
  }
}

/** The child's side; it ends with its parent. */
export function serveParent<To, From>(run: (told: To) => Promise<From>): void {
  let last: Promise<void> = Promise.resolve();
  process.on('message', (told: To) => {
    last = last.then(async () => {
      try {
        process.send?.({ answer: await run(told) });
      } catch (error) {
        process.send?.({ error: String(error) });
      }
    });
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.('ready');
}
