/**
 * The voters of the cluster, as the own server's replica knows them (T11): their values count in
 * comparisons.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import type { ServerId } from '../../shared/raft/entry.js';
import { ask } from '../../shared/wire/ask.js';
import { parseJson } from '../../shared/wire/json.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import { votersReply } from '../../shared/wire/voters.js';

/**
 * Between two looks (milliseconds): members change rarely, and checkpoints are compared for a long
 * time.
 */
const LOOK_MS = 10_000;
const ANSWER_MS_MAX = 2_000;

export interface MembersOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly server: ServerId;
  readonly onVoters: (servers: readonly ServerId[]) => void;
  readonly signal: AbortSignal;
}

/** Looks now and then; a replica that does not answer has said nothing new. */
export function watchVoters(options: MembersOptions): void {
  const { signal } = options;
  const timer = setInterval(() => void look(options), LOOK_MS);
  timer.unref();
  signal.addEventListener('abort', () => clearInterval(timer));
  void look(options);
}

async function look({ connection, subjects, server, onVoters }: MembersOptions): Promise<void> {
  try {
    const reply = await ask(connection, subjects.voters(server), '', { timeout: ANSWER_MS_MAX });
    const { voters } = parseJson(reply.data, votersReply);
    if (voters.length > 0) onVoters(voters);
  } catch {
    // It is away, and asked again.
  }
}
