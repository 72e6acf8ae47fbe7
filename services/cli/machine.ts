/**
 * `craft machine`: which versions of the state machine the servers have, which one is in force, and
 * the switch to another (T12).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { CraftError, OutcomeUnknownError, type ServerStatus } from '../../shared/client/index.js';
import { ask } from '../../shared/wire/ask.js';
import type { MachineInput } from '../../shared/wire/machine.js';
import { machineProblems } from './machine-problems.js';
import { hasNoResponders, isTimeout, parseReply } from './replies.js';
import type { Session } from './session.js';

const switched = z.looseObject({ ok: z.literal(true), index: z.number() });

/** Between two tries of what was refused for now, and between two looks (milliseconds). */
const AGAIN_MS = 250;

/**
 * Prints a line for each server. @throws CraftError when no server answers, Error when the servers
 * do not fit together.
 */
export async function machineStatus({ client }: Session, print: (value: unknown) => void): Promise<void> {
  const statuses = await client.status();
  if (statuses.length === 0) throw new CraftError('UNAVAILABLE', 'no server answers');
  for (const { server, state } of statuses) {
    const { machine, appliedIndex, ok, error } = state ?? {};
    print({ server, ...machine, appliedIndex, ...(ok === false ? { error } : {}) });
  }
  const problems = machineProblems(statuses);
  if (problems.length > 0) throw new Error(problems.join('; '));
}

/**
 * The newest version that every member has loaded, where that is newer than the one in force
 * somewhere; undefined otherwise.
 */
export function newerVersion(statuses: readonly ServerStatus[]): number | undefined {
  const machines = statuses.map(({ state }) => state?.machine);
  const [first, ...others] = machines.map((machine) => new Set(machine?.loaded.map(({ version }) => version)));
  const common = [...(first ?? [])].filter((version) => others.every((one) => one.has(version)));
  const newest = Math.max(0, ...common);
  return machines.some((machine) => machine !== undefined && machine.version < newest) ? newest : undefined;
}

/**
 * Switches the cluster to this version, and resolves when every member has it in force.
 * @throws CraftError REJECTED when not every member could follow, or when there is no way there;
 *   nothing has happened then. INTERNAL when a migration failed: the version before stays in force.
 *   OutcomeUnknownError when it takes longer than `timeoutMs`.
 */
export async function switchMachine(
  session: Session,
  version: number,
  timeoutMs: number,
  print: (value: unknown) => void,
): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  const statuses = await session.client.status();
  const name = requireLoaded(statuses, version);
  const index = await append(session, { name, version }, deadlineMs);
  const servers = statuses.map(({ server }) => server);
  for (;;) {
    const now = await session.client.status();
    const inForce = now.flatMap(({ server, state }) => (state?.machine?.version === version ? [server] : []));
    const left = servers.filter((server) => !inForce.includes(server));
    if (left.length === 0) {
      print({ name, version, mergedIndex: index, servers: inForce });
      return;
    }
    if (performance.now() >= deadlineMs) {
      throw new OutcomeUnknownError(
        `version ${version} is in force from merged index ${index} on; ${left.join(', ')} has not reached it yet`,
        '',
      );
    }
    await delay(AGAIN_MS);
  }
}

/**
 * The machine's name. @throws CraftError unless every member has loaded the same build of the
 * version.
 */
function requireLoaded(statuses: readonly ServerStatus[], version: number): string {
  if (statuses.length === 0) throw new CraftError('UNAVAILABLE', 'no server answers');
  const there = new Map(statuses.map(({ server, state }) => [server, state?.machine]));
  const members = new Set(
    statuses.flatMap(({ groups }) => groups.flatMap((one) => [...(one.voters ?? []), ...(one.learners ?? [])])),
  );
  const lacking = [...new Set([...members, ...there.keys()])].filter(
    (server) => there.get(server)?.loaded.some((one) => one.version === version) !== true,
  );
  if (lacking.length > 0) {
    const silent = lacking.filter((server) => there.get(server) === undefined);
    const why = silent.length === 0 ? '' : ` (${silent.join(', ')} does not answer)`;
    throw new CraftError(
      'REJECTED',
      `not every member has loaded version ${version}: ${lacking.sort().join(', ')}${why}; start them with a module that has it`,
    );
  }
  const problem = machineProblems(statuses).find(
    (one) => one.startsWith(`version ${version} `) || one.startsWith('the servers'),
  );
  if (problem !== undefined) throw new CraftError('REJECTED', problem);
  return statuses.find(({ state }) => state?.machine !== undefined)?.state?.machine?.name ?? '';
}

/**
 * Its merged index. What was refused for now has not happened, and is asked for again; it takes
 * effect once, however often.
 */
async function append({ connection, subjects }: Session, input: MachineInput, deadlineMs: number): Promise<number> {
  for (;;) {
    const leftMs = deadlineMs - performance.now();
    try {
      const reply = await ask(connection, subjects.machine(), JSON.stringify(input), {
        timeout: Math.max(1, leftMs),
      });
      return parseReply(switched, reply.json()).index;
    } catch (error) {
      if (isTimeout(error)) {
        const message = `the outcome of the switch to version ${input.version} is unknown; craft machine status shows the version in force`;
        throw new OutcomeUnknownError(message, '', { cause: error });
      }
      const isForNow = hasNoResponders(error) || (error instanceof CraftError && error.retryable);
      if (!isForNow || leftMs <= AGAIN_MS) throw error;
    }
    await delay(AGAIN_MS);
  }
}
