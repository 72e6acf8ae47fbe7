/** `craft snapshot`: what the appliers say of the cluster's snapshots (T10). */
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { CraftError, OutcomeUnknownError } from '../../shared/client/index.js';
import { FIRST_VERSION } from '../../shared/engine/switch.js';
import type { MergedIndex } from '../../shared/raft/entry.js';
import { SnapshotBucket } from '../../shared/snapshot/bucket.js';
import { openFile, SnapshotFileExistsError, saveFile } from '../../shared/snapshot/file.js';
import { ask } from '../../shared/wire/ask.js';
import { isTimeout, parseReply } from './replies.js';
import type { Session } from './session.js';

const listed = z.object({ ok: z.literal(true), snapshots: z.array(z.looseObject({ name: z.string() })) });
const restored = z.looseObject({ ok: z.literal(true), index: z.number() });
const taken = z.looseObject({ ok: z.literal(true), name: z.string() });

/** Between two tries of what was refused for now (milliseconds). */
const AGAIN_MS = 500;
/** To list the snapshots (milliseconds). */
const LIST_MS_MAX = 5_000;

export async function listSnapshots(session: Session, print: (value: unknown) => void): Promise<void> {
  const server = await anyServer(session);
  const { connection, subjects } = session;
  const reply = await ask(connection, subjects.admin('snapshots', server), '', { timeout: LIST_MS_MAX });
  for (const { ok: _, ...snapshot } of parseReply(listed, reply.json()).snapshots) print(snapshot);
}

/** Takes one, so that every command acknowledged before is in it, and writes it to a file. */
export async function saveSnapshot(
  session: Session,
  path: string,
  timeoutMs: number,
  print: (value: unknown) => void,
): Promise<void> {
  const { connection, subjects, client } = session;
  // Before a snapshot is taken for it; `saveFile` looks again.
  if (existsSync(path)) throw new SnapshotFileExistsError(path);
  const server = await anyServer(session);
  // Its database shows everything that was acknowledged before now (T6).
  await client.sync(server);
  let name = '';
  await takeSnapshot(session, timeoutMs, (taken) => {
    name = (taken as { name: string }).name;
  });
  const bucket = await SnapshotBucket.find(connection, subjects);
  const info = (await bucket.list()).find((one) => one.name === name);
  if (info === undefined) throw new CraftError('UNAVAILABLE', `snapshot ${name} has been replaced already; try again`);
  await saveFile(bucket, info, path);
  print({ file: path, name, mergedIndex: info.position.mergedIndex, bytes: info.bytes });
}

/**
 * Makes the state of a file that of the whole cluster: at one place in the log, at every server.
 * Resolves when every server shows it, or is told to be behind: it comes to it by itself.
 * `replace`: there may be a state, which is lost.
 */
export async function restoreSnapshot(
  session: Session,
  path: string,
  options: { readonly replace: boolean; readonly timeoutMs: number },
  print: (value: unknown) => void,
): Promise<void> {
  const { connection, subjects, client } = session;
  const file = await openFile(path);
  const { replace, timeoutMs } = options;
  const servers = await client.status();
  const [first] = servers;
  if (first === undefined) throw new CraftError('UNAVAILABLE', 'no server answers');
  if (servers.some(({ version }) => version !== first.version)) {
    throw new CraftError('UNAVAILABLE', 'the servers run different versions: upgrade all of them first');
  }
  const deadline = performance.now() + timeoutMs;
  const left = () => ({ timeoutMs: Math.max(1, deadline - performance.now()) });
  // Its database shows everything that was acknowledged before now (T6). States that differ say
  // nothing, and are to be replaced perhaps.
  const before = replace ? 0 : (await client.sync(await anyServer(session), left())).index;
  if (before > 0) throw new CraftError('REJECTED', whyNotRestored(before, first.state?.machine?.version));
  // Who lists them makes the bucket, with the replicas that it is to have.
  await ask(connection, subjects.admin('snapshots', first.server), '', { timeout: left().timeoutMs });
  const bucket = await SnapshotBucket.find(connection, subjects);
  const object = await bucket.saveFile(file);
  const index = await untilRestored(session, first.server, { object, replace }, deadline);
  const shown: string[] = [];
  const behind: string[] = [];
  for (const { server } of servers) {
    await client.sync(server, left()).then(
      () => shown.push(server),
      () => behind.push(server),
    );
  }
  print({ file: path, mergedIndex: index, servers: shown, ...(behind.length === 0 ? {} : { behind }) });
}

/**
 * Why a file is not restored over a state without being told to. A log begins with version 1: a
 * cluster whose machine has a newer one begins with a switch in its log, which is a state, too.
 */
export function whyNotRestored(mergedIndex: MergedIndex, version: number | undefined): string {
  const why = `a state exists at merged index ${mergedIndex}; to overwrite it, add --replace`;
  if (version === undefined || version <= FIRST_VERSION) return why;
  return `${why}; in a new cluster it is only the switch to version ${version} of the state machine, and no command is lost`;
}

/**
 * The merged index of the command. What was refused for now has not happened, and is asked for
 * again.
 */
async function untilRestored(
  { connection, subjects }: Session,
  server: string,
  request: { readonly object: string; readonly replace: boolean },
  deadline: number,
): Promise<number> {
  for (;;) {
    const timeout = Math.max(1, deadline - performance.now());
    const reply = await ask(connection, subjects.admin('restore', server), JSON.stringify(request), { timeout }).catch(
      (cause: unknown) => {
        throw new OutcomeUnknownError(
          'no answer, outcome unknown: the restore may have happened or may still happen',
          '',
          { cause },
        );
      },
    );
    try {
      return parseReply(restored, reply.json()).index;
    } catch (error) {
      const isForNow = error instanceof CraftError && error.retryable && !(error instanceof OutcomeUnknownError);
      if (!isForNow || performance.now() + AGAIN_MS >= deadline) throw error;
      await delay(AGAIN_MS);
    }
  }
}

export async function takeSnapshot(
  session: Session,
  timeoutMs: number,
  print: (value: unknown) => void,
): Promise<void> {
  const server = await anyServer(session);
  const { connection, subjects } = session;
  const reply = await ask(connection, subjects.admin('snapshot', server), '', { timeout: timeoutMs }).catch(
    (cause: unknown) => {
      if (!isTimeout(cause)) throw cause;
      const why = `${server} has not answered within ${timeoutMs} ms: the snapshot may still be taken`;
      throw new OutcomeUnknownError(why, '', { cause });
    },
  );
  const { ok: _, ...snapshot } = parseReply(taken, reply.json());
  print(snapshot);
}

/** One whose state may be read, if there is one. */
async function anyServer({ client }: Session): Promise<string> {
  const servers = await client.status();
  const server = servers.find(({ state }) => state?.ok === true) ?? servers[0];
  if (server === undefined) throw new CraftError('UNAVAILABLE', 'no server answers');
  return server.server;
}
