/** What services answer to an operator: checked once, and a refusal is an error. */
import { NoRespondersError, RequestError, TimeoutError } from '@nats-io/nats-core';
import { z } from 'zod';
import { CraftError, OutcomeUnknownError } from '../../shared/client/index.js';
import { ErrorCode } from '../../shared/wire/errors.js';

const failure = z.object({ ok: z.literal(false), error: z.object({ code: z.string(), message: z.string() }) });

/** @throws CraftError when the answer is a refusal. */
export function parseReply<T>(schema: z.ZodType<T>, json: unknown): T {
  const refused = failure.safeParse(json);
  if (!refused.success) return schema.parse(json);
  const { code, message } = refused.data.error;
  if (code === 'TIMEOUT_UNKNOWN') throw new OutcomeUnknownError(message, '');
  throw new CraftError(code in ErrorCode ? (code as ErrorCode) : 'INTERNAL', message);
}

/** No service listens to the subject. */
export function hasNoResponders(error: unknown): boolean {
  return (
    error instanceof NoRespondersError || (error instanceof RequestError && error.cause instanceof NoRespondersError)
  );
}

/** No answer came in time. */
export function isTimeout(error: unknown): boolean {
  return error instanceof TimeoutError || (error instanceof Error && error.cause instanceof TimeoutError);
}
