/**
 * What became of commands of the merged log: a request on `<c>.admin.outcomes.<server>`, which its
 * applier answers from its database. JSON.
 */
import { z } from 'zod';

/** Commands of one request. */
export const OUTCOMES_MAX = 128;
/** Characters of a message that says why a command was refused, or failed. */
export const OUTCOME_MESSAGE_MAX = 500;

const index = z.int().min(1);

/** Merged indexes, both included. */
export const outcomesRequest = z
  .strictObject({ from: index, to: index })
  .refine(({ from, to }) => from <= to && to - from < OUTCOMES_MAX, `from 1 to ${OUTCOMES_MAX} commands`);

export const outcomesReply = z.discriminatedUnion('ok', [
  z.object({
    ok: z.literal(true),
    /** The state is so far: what is beyond has no outcome yet. */
    appliedIndex: z.int().min(0),
    outcomes: z.array(
      z.object({
        index,
        /**
         * The command at this place of another log, before a file was restored, has another one.
         */
        timestamp: z.int(),
        outcome: z.enum(['ok', 'rejected', 'failed']),
        message: z.string().optional(),
      }),
    ),
  }),
  z.object({ ok: z.literal(false), error: z.object({ code: z.string(), message: z.string() }) }),
]);
export type OutcomesReply = Extract<z.output<typeof outcomesReply>, { ok: true }>;
