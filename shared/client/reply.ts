/** Replies as they come from NATS, read once and checked: a malformed one is as good as none. */
import type { Msg } from 'nats';
import { z } from 'zod';
import { type CraftError, errorOf } from './errors.js';

const success = z.looseObject({
  ok: z.literal(true),
  index: z.number().int().optional(),
  group: z.number().int().optional(),
  timestamp: z.number().int().optional(),
  result: z.unknown().optional(),
});
const failure = z.object({
  ok: z.literal(false),
  error: z.object({ code: z.string(), message: z.string() }),
});
const reply = z.discriminatedUnion('ok', [success, failure]);

export type Success = z.output<typeof success>;

/**
 * Returns what a successful reply holds, or the error; undefined when this is no reply of the
 * contract.
 */
export function readReply(message: Msg, id: string): Success | CraftError | undefined {
  let value: unknown;
  try {
    value = message.json();
  } catch {
    return undefined;
  }
  const parsed = reply.safeParse(value);
  if (!parsed.success) return undefined;
  return parsed.data.ok ? parsed.data : errorOf(parsed.data.error.code, parsed.data.error.message, id);
}

export const syncReply = z.looseObject({ index: z.number().int(), timestamp: z.number().int() });

const groupStatus = z.looseObject({
  group: z.number().int(),
  role: z.string(),
  leader: z.string().nullable(),
  term: z.number(),
  lastIndex: z.number(),
  commitIndex: z.number(),
  /** Absent from servers of older versions. */
  baseIndex: z.number().optional(),
  voters: z.array(z.string()).optional(),
  learners: z.array(z.string()).optional(),
  watermark: z.number().optional(),
  closed: z.number().optional(),
});

/** What the applier of one server says about itself on `<c>.admin.applied`. */
export const stateStatus = z.looseObject({
  server: z.string(),
  /** Merged index of the last entry in its database. */
  appliedIndex: z.number(),
  /** Whether it goes on, and since when and why not. */
  ok: z.boolean(),
  since: z.string().optional(),
  error: z.string().optional(),
  /**
   * Whether anything may be read from its state: servers may differ. Absent from servers of older
   * versions.
   */
  trusted: z.boolean().optional(),
  /** Why its state differs from that of a majority, until it is rebuilt. */
  divergence: z.string().optional(),
  /**
   * The state machine and its version in force, and what the server has loaded, each with a
   * fingerprint of its code. Absent from servers of older versions.
   */
  machine: z
    .looseObject({
      name: z.string(),
      version: z.number(),
      loaded: z.array(z.looseObject({ version: z.number(), fingerprint: z.string() })),
    })
    .optional(),
  /** The merged index at which its rows are being added up. */
  verifying: z.number().optional(),
  /** What its rows were at the newest `craft.verify` that it has looked at. */
  verified: z
    .looseObject({
      mergedIndex: z.number(),
      /** Over the rows of all tables, and over the outcomes of all commands up to there. */
      checksum: z.string(),
      resultsChecksum: z.string(),
      tables: z.array(z.looseObject({ name: z.string(), rows: z.number(), checksum: z.string() })),
    })
    .optional(),
});
export type StateStatus = z.output<typeof stateStatus>;

const calls = z.record(z.string(), z.object({ input: z.record(z.string(), z.unknown()).optional() }));

/**
 * What the state machine offers: its version in force, its commands and its queries. Each has the
 * JSON Schema (draft 2020-12) of its input, as far as the library of the schema can tell.
 */
export const machineDescription = z.object({
  name: z.string(),
  version: z.number(),
  commands: calls,
  queries: calls,
});
export type MachineDescription = z.output<typeof machineDescription>;

/** The health of one service, as its process says it. */
const serviceHealth = z.looseObject({
  /** `replica`, `merger` or `applier`. */
  service: z.string(),
  /** Whether it does its work. */
  serves: z.boolean(),
  /**
   * How far it is, in a number that only grows while all is well, and how long that has not changed
   * (milliseconds).
   */
  position: z.number().optional(),
  stillMs: z.number().optional(),
  conditions: z.array(
    z.looseObject({
      /** A stable code, for example `publish`. */
      condition: z.string(),
      ok: z.boolean(),
      /** Of the last change (milliseconds since the Unix epoch, by the clock of that server). */
      since: z.number(),
      /** Why it is not ok, and what to do. */
      why: z.string().optional(),
      remedy: z.string().optional(),
    }),
  ),
});
export type ServiceHealth = z.output<typeof serviceHealth>;

/** The health of one server. */
export interface ServerHealth {
  readonly server: string;
  readonly services: readonly ServiceHealth[];
}

/** What a process says of its services on `<c>.admin.health`. */
export const processHealth = z.looseObject({
  server: z.string(),
  version: z.string().optional(),
  services: z.array(serviceHealth),
});

/** What one server says about itself on `<c>.admin.status`. Times in microseconds. */
export const serverStatus = z.looseObject({
  server: z.string(),
  version: z.string().optional(),
  /** Of Node.js. Absent from servers of older versions. */
  node: z.string().optional(),
  /**
   * The versions of the protocol between servers that it writes and reads, and the servers whose
   * messages it cannot read. Absent from servers of older versions.
   */
  protocol: z
    .looseObject({
      writes: z.number(),
      oldest: z.number(),
      newest: z.number(),
      refused: z.array(z.looseObject({ server: z.string(), protocol: z.number(), since: z.string() })),
    })
    .optional(),
  groups: z.array(groupStatus),
  /**
   * Reference time minus its clock, and what its clock shows (microseconds since the Unix epoch;
   * absent from servers of older versions).
   */
  clock: z.looseObject({ offsetUs: z.number(), ok: z.boolean(), nowUs: z.number().optional() }).optional(),
  /** Whether the log store takes writes, and since when and why not. */
  logStore: z.looseObject({ ok: z.boolean(), since: z.string().optional(), error: z.string().optional() }).optional(),
  /** Of its applier; absent when that does not answer. */
  state: stateStatus.optional(),
});
export type ServerStatus = z.output<typeof serverStatus>;
