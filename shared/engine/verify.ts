/**
 * The command at whose place in the log all servers look at their rows and compare them (T4). Only
 * the services themselves append it: no client's command, and none of a state machine, has this
 * name. Every engine gives it one outcome, and calls no handler.
 */
import { z } from 'zod';
import type { CommandOutcome } from './state-machine.js';

export const VERIFY_COMMAND = 'craft.verify';

/** Its outcome, whatever its payload. */
export const VERIFY_OUTCOME: CommandOutcome = { ok: true, json: 'null' };

const input = z.object({
  /** The server that takes a snapshot of the state at this place. */
  snapshotBy: z.string().optional(),
});
export type VerifyInput = z.output<typeof input>;

/**
 * A request for the command, to the leader of group 0: of one that is wrong nothing is appended.
 */
export const verifyRequest = input;

/** What a payload says; nothing when it is none. Fields that are not known are left out. */
export function verifyInput(payload: Uint8Array): VerifyInput {
  try {
    return input.safeParse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))).data ?? {};
  } catch {
    return {};
  }
}

/** As the payload of the command. */
export function encodeVerify(given: VerifyInput): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(given));
}
