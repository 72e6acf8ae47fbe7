/**
 * Limits of a merged-log stream that craft has not set, and what a refusal of the stream means.
 * Pure.
 */
import type { StreamConfig } from '@nats-io/jetstream';
import type { Trouble } from './health.js';

type Limits = Pick<
  StreamConfig,
  'max_msgs' | 'max_bytes' | 'max_age' | 'max_msg_size' | 'max_msgs_per_subject' | 'sealed'
>;

/** The limits that craft does not set: with one, messages are dropped or refused. */
export function limitsOf(config: Partial<Limits>): string[] {
  const limits = (['max_msgs', 'max_bytes', 'max_msg_size', 'max_msgs_per_subject'] as const).flatMap((name) =>
    (config[name] ?? -1) > 0 ? [`${name} ${config[name]}`] : [],
  );
  // Nanoseconds; 0 is none.
  const { max_age: ageNs = 0, sealed = false } = config;
  if (ageNs > 0) limits.push(`max_age ${ageNs / 1e9} s`);
  if (sealed) limits.push('sealed');
  return limits;
}

/** What the name of the command line of NATS is for each. */
const OPTIONS: Readonly<Record<string, string>> = {
  max_msgs: '--max-msgs=-1',
  max_bytes: '--max-bytes=-1',
  max_msg_size: '--max-msg-size=-1',
  max_msgs_per_subject: '--max-msgs-per-subject=-1',
  max_age: '--max-age=-1',
};

/** What to do about limits of a stream. A sealed stream stays sealed: it has to be made anew. */
export function limitsTrouble(stream: string, limits: readonly string[]): Trouble | undefined {
  if (limits.length === 0) return undefined;
  const options = limits.flatMap((limit) => OPTIONS[limit.split(' ')[0] ?? ''] ?? []);
  const why = `stream ${stream} has limits that craft did not set: ${limits.join(', ')}`;
  return {
    why,
    remedy: limits.includes('sealed') ? remake(stream) : `nats stream edit ${stream} ${options.join(' ')}`,
  };
}

/**
 * Entries are written again from the logs of the groups, or the log goes on from where the database
 * is.
 */
function remake(stream: string): string {
  return `delete it, and the merger makes it anew: nats stream rm ${stream}`;
}

/** By what the errors of JetStream say: their codes are of several ages. */
const REFUSALS: readonly (readonly [RegExp, (stream: string) => string])[] = [
  [/sealed/i, remake],
  [/message size exceeds/i, (stream) => `nats stream edit ${stream} ${OPTIONS['max_msg_size']}`],
  [/maximum messages/i, (stream) => `nats stream edit ${stream} ${OPTIONS['max_msgs']}`],
  [/maximum bytes/i, (stream) => `nats stream edit ${stream} ${OPTIONS['max_bytes']}`],
  [
    /insufficient|resource|storage/i,
    () => 'JetStream is full: raise max_file_store of the NATS server, or remove other streams (nats stream report)',
  ],
  [/max_payload/i, () => 'raise max_payload of the NATS servers'],
  [
    /not enabled|no responders|timeout|offline/i,
    (stream) =>
      `start the NATS server that has the stream (nats stream report). With three NATS servers, replicas survive the loss of one: nats stream edit ${stream} --replicas=3`,
  ],
];

/** What the client says when nothing listens where the stream would. */
const NOBODY = 'jetstream is not enabled';

/** Why the stream does not take a message, and what to do. */
export function publishTrouble(stream: string, error: Error): Trouble {
  const said = error.message === NOBODY ? 'no NATS server that runs has it' : error.message;
  const why = `stream ${stream} does not take the merged log: ${said}`;
  const remedy = REFUSALS.find(([pattern]) => pattern.test(error.message))?.[1](stream);
  return { why, remedy };
}
