/** `craft nats-config`: passwords, and the files of a NATS cluster in a folder. */
import { randomBytes, randomUUID } from 'node:crypto';
import { access, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import bcrypt from 'bcryptjs';
import { z } from 'zod';
import { NamedError } from '../../shared/errors.js';
import { FIXED_USERS, type NatsConfig, natsConfiguration, ROUTES_USER, userEnvironment } from './nats-config.js';

/** Wrong use of `craft nats-config`; nothing was written. */
export class NatsConfigError extends NamedError {}

/** Where the passwords are kept, so that the files can be written again with the same ones. */
const PASSWORDS_FILE = 'passwords.json';
/** What bcrypt looks at (bytes). */
const PASSWORD_BYTES_MAX = 72;
/**
 * Of the hash of a password that a person has chosen: some 50 ms for the NATS server at each
 * connection.
 */
const COST = 10;
/**
 * Of a random password, which cannot be guessed, and of that of the routes, which is in their
 * addresses in plain text. All clients connect at once when a NATS server comes back.
 */
const COST_MIN = 4;
/** 192 random bits behind what no person begins a password with. */
const RANDOM_PREFIX = 'crp_';
const RANDOM = /^crp_[\w-]{32}$/;

const passwordsFile = z.record(z.string(), z.string());
type Passwords = z.output<typeof passwordsFile>;

export interface NatsFilesOptions {
  readonly folder: string;
  readonly config: Omit<NatsConfig, 'hashes' | 'routesPassword'>;
  /** Environment with CRAFT_<USER>_PASSWORD. */
  readonly environment: NodeJS.ProcessEnv;
  /** Overwrite files of an earlier call. */
  readonly force: boolean;
}

/**
 * Writes a file for each node and each user, and one with all passwords: for its owner alone. A
 * password comes from the environment (`CRAFT_CLIENT_PASSWORD`), from `passwords.json` of an
 * earlier call, or is a new random one. Returns the paths.
 * @throws NatsConfigError for a password that is none, and for files that are there already
 */
export async function writeNatsFiles({ folder, config, environment, force }: NatsFilesOptions): Promise<string[]> {
  const users = [...FIXED_USERS, ...config.clients];
  const path = join(folder, PASSWORDS_FILE);
  const kept = await readPasswords(path);
  const passwords: Passwords = {};
  const hashes: Record<string, string> = {};
  for (const user of [...users, ROUTES_USER]) {
    const given =
      environment[variableOf(user)] || (kept !== undefined && Object.hasOwn(kept, user) ? kept[user] : undefined);
    const password = given ?? `${RANDOM_PREFIX}${randomBytes(24).toString('base64url')}`;
    requireUsable(user, password);
    passwords[user] = password;
    hashes[user] = await bcrypt.hash(password, user === ROUTES_USER || RANDOM.test(password) ? COST_MIN : COST);
  }
  const whole: NatsConfig = { ...config, hashes, routesPassword: passwords[ROUTES_USER] ?? '' };
  const files = [
    ...config.nodes.map((node) => [`${node.name}.conf`, natsConfiguration(whole, node)] as const),
    ...users.map((user) => [`${user}.env`, userEnvironment(whole, user, passwords[user] ?? '')] as const),
    [PASSWORDS_FILE, `${JSON.stringify(passwords, undefined, 2)}\n`] as const,
  ].map(([name, text]) => ({ path: join(folder, name), text }));
  if (!force) await requireNew(files.map((file) => file.path).filter((one) => one !== path || kept === undefined));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const file of files) await writeSecret(file.path, file.text);
  return files.map((file) => file.path);
}

/** `CRAFT_WEB_SHOP_PASSWORD` of `web-shop`. */
function variableOf(user: string): string {
  return `CRAFT_${user.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}_PASSWORD`;
}

function requireUsable(user: string, password: string): void {
  const bytes = Buffer.byteLength(password);
  if (bytes < 1 || bytes > PASSWORD_BYTES_MAX || password.includes('\0')) {
    throw new NatsConfigError(`the password of ${user} has ${bytes} bytes: 1 to ${PASSWORD_BYTES_MAX} without NUL`);
  }
}

/** Undefined when there are none yet. A person may write the file, too. */
async function readPasswords(path: string): Promise<Passwords | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new NatsConfigError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  try {
    return passwordsFile.parse(JSON.parse(text));
  } catch {
    // What is wrong with it is not said: that has passwords.
    throw new NatsConfigError(`${path} is not a JSON object of passwords by user`);
  }
}

async function requireNew(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere)
      throw new NatsConfigError(`${path} exists already; to overwrite it with the same passwords, add --force`);
  }
}

/** Whole or not at all, with mode 0600; a link is replaced, not followed. */
async function writeSecret(path: string, text: string): Promise<void> {
  const next = `${path}.${randomUUID()}`;
  try {
    await writeFile(next, text, { mode: 0o600, flag: 'wx' });
    await rename(next, path);
  } catch (cause) {
    await rm(next, { force: true });
    throw new NatsConfigError(`${path} cannot be written: ${(cause as Error).message}`, { cause });
  }
}
