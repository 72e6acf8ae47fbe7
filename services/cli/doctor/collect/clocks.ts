/**
 * How far the clocks of the servers are from that of this machine, as each answers one question.
 */
import { z } from 'zod';
import { inboxOf } from '../../../../shared/wire/inbox.js';
import type { Session } from '../../session.js';
import type { ClockFacts } from '../facts.js';

/** Later answers say too little (milliseconds). */
const ANSWER_MS_MAX = 1_000;

const answer = z.looseObject({ server: z.string(), clock: z.looseObject({ nowUs: z.number() }) });

/** @param expected how many servers answer; servers of older versions do not tell their clock */
export async function clockFacts({ connection, subjects }: Session, expected: number): Promise<ClockFacts[]> {
  const found = new Map<string, ClockFacts>();
  const inbox = inboxOf(connection);
  const sentMs = performance.now();
  const sentUs = Date.now() * 1_000;
  let answers = 0;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ANSWER_MS_MAX);
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    const subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        answers += 1;
        const clock = error === null ? clockOf(message.data, sentUs, (performance.now() - sentMs) * 1_000) : undefined;
        if (clock !== undefined) found.set(clock.server, clock);
        if (answers >= expected) end();
      },
    });
    connection.publish(subjects.admin('status'), '{}', { reply: inbox });
    void subscription.closed.then(end);
    timer.unref();
  });
  return [...found.values()];
}

function clockOf(data: Uint8Array, sentUs: number, roundTripUs: number): ClockFacts | undefined {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(data));
  } catch {
    return undefined;
  }
  const parsed = answer.safeParse(json);
  if (!parsed.success) return undefined;
  const { server, clock } = parsed.data;
  return { server, offsetUs: Math.round(clock.nowUs - sentUs - roundTripUs / 2), roundTripUs };
}
