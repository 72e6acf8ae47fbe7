/**
 * `craft context`: named connection settings, so that a person with several clusters need not
 * repeat them. They are kept in one file of the user, with mode 0600 since an address may have a
 * password.
 */
import { type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { NamedError } from '../../shared/errors.js';
import { INBOX_PREFIX } from '../../shared/wire/inbox-prefix.js';
import { SERVER_NAME } from '../../shared/wire/subjects.js';

/**
 * A change takes a few milliseconds. How long one waits for another, and between two looks
 * (milliseconds).
 */
const LOCK_MS_MAX = 2_000;
const LOCK_LOOK_MS = 10;

/**
 * What a context may set. An option or a variable of the environment that is given wins over it.
 */
const context = z.strictObject({
  nats: z.string().min(1).optional(),
  creds: z.string().min(1).optional(),
  nkey: z.string().min(1).optional(),
  tlsCa: z.string().min(1).optional(),
  tlsCert: z.string().min(1).optional(),
  tlsKey: z.string().min(1).optional(),
  inboxPrefix: z.string().regex(INBOX_PREFIX).optional(),
  cluster: z.string().min(1).optional(),
  prefer: z.string().regex(SERVER_NAME).optional(),
  timeout: z.int().min(1).optional(),
});
export type Context = z.output<typeof context>;
export const CONTEXT_KEYS = context.keyof().options;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const contextsFile = z.strictObject({
  selected: z.string().optional(),
  contexts: z.record(z.string().regex(NAME), context),
});
type ContextsFile = z.output<typeof contextsFile>;

/** Wrong use of `craft context`, or a file that is none; the message says what to do. */
export class ContextError extends NamedError {}

/** Where the file lies: in the folder that the platform has for settings. */
export function contextsPath(environment: NodeJS.ProcessEnv = process.env): string {
  const folder =
    environment['XDG_CONFIG_HOME'] ||
    (process.platform === 'win32' && environment['APPDATA']) ||
    join(environment['HOME'] || homedir(), '.config');
  return join(folder, 'craft', 'contexts.json');
}

export class Contexts {
  private constructor(
    private readonly path: string,
    private readonly file: ContextsFile,
  ) {}

  /**
   * Reads the file; without one there is no context. @throws ContextError when it cannot be read,
   * or is something else.
   */
  static async read(path: string = contextsPath()): Promise<Contexts> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return new Contexts(path, { contexts: {} });
      throw new ContextError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
    }
    try {
      return new Contexts(path, contextsFile.parse(JSON.parse(text)));
    } catch (cause) {
      const why = cause instanceof z.ZodError ? z.prettifyError(cause) : (cause as Error).message;
      throw new ContextError(`${path} is not a file of contexts: ${why}`, { cause });
    }
  }

  get selected(): string | undefined {
    return this.file.selected;
  }

  get names(): readonly string[] {
    return Object.keys(this.file.contexts).sort();
  }

  /** @throws ContextError when there is no such context. */
  get(name: string): Context {
    const found = Object.hasOwn(this.file.contexts, name) ? this.file.contexts[name] : undefined;
    if (found !== undefined) return found;
    const others = this.names.length === 0 ? 'there is none yet' : `there are ${this.names.join(', ')}`;
    throw new ContextError(`there is no context ${JSON.stringify(name)}; ${others}`);
  }

  /** Adds a context, or replaces it. @throws ContextError for a name that is none. */
  async put(name: string, given: Context): Promise<void> {
    if (!NAME.test(name)) {
      throw new ContextError(
        `${JSON.stringify(name)} is not a valid name: letters, digits, ".", "_" and "-", at most 64`,
      );
    }
    await this.change(({ file }) => ({ ...file, contexts: { ...file.contexts, [name]: given } }));
  }

  async select(name: string): Promise<void> {
    await this.change((now) => {
      now.get(name);
      return { ...now.file, selected: name };
    });
  }

  async remove(name: string): Promise<void> {
    await this.change((now) => {
      now.get(name);
      const { [name]: _removed, ...contexts } = now.file.contexts;
      const { selected, ...rest } = now.file;
      return { ...rest, ...(selected !== undefined && selected !== name && { selected }), contexts };
    });
  }

  /**
   * Writes the file that is made of the one as it is now: whole or not at all, one change after the
   * other. The next file is the lock: it exists while a change is being made.
   */
  private async change(made: (now: Contexts) => ContextsFile): Promise<void> {
    const next = await this.lock();
    try {
      const file = made(await Contexts.read(this.path));
      await next.writeFile(`${JSON.stringify(file, undefined, 2)}\n`);
      await rename(this.lockPath, this.path);
      Object.assign(this.file, { selected: undefined }, file);
    } catch (cause) {
      await rm(this.lockPath, { force: true });
      if (cause instanceof ContextError) throw cause;
      throw new ContextError(`${this.path} cannot be written: ${(cause as Error).message}`, { cause });
    } finally {
      await next.close();
    }
  }

  private get lockPath(): string {
    return `${this.path}.lock`;
  }

  /** @throws ContextError when another one is there for longer than a change takes. */
  private async lock(): Promise<FileHandle> {
    const startMs = performance.now();
    for (;;) {
      try {
        await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
        return await open(this.lockPath, 'wx', 0o600);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') {
          throw new ContextError(`${this.path} cannot be written: ${(cause as Error).message}`, { cause });
        }
        if (performance.now() - startMs > LOCK_MS_MAX) {
          throw new ContextError(
            `another craft context is writing ${this.path}; if none is running, remove ${this.lockPath}`,
            { cause },
          );
        }
      }
      await delay(LOCK_LOOK_MS);
    }
  }
}
