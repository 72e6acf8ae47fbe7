/** JSON from clients and other services, held against a schema. */
import { z } from 'zod';
import { CraftError } from './errors.js';

/** @throws CraftError INVALID_ARGUMENT when it is not JSON, or not what the schema says. */
export function parseJson<T>(data: Uint8Array, schema: z.ZodType<T>): T {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(data));
  } catch (cause) {
    throw new CraftError('INVALID_ARGUMENT', 'the payload is not JSON', { cause });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new CraftError('INVALID_ARGUMENT', z.prettifyError(parsed.error));
  return parsed.data;
}
