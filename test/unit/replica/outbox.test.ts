/** What leaves when, and in which order. */
import { describe, expect, it } from 'vitest';
import { Outbox, PATIENCE_MS } from '../../../services/replica/core/outbox.js';
import type { Message } from '../../../shared/raft/message.js';

const REPLY = { type: 'vote-reply', preVote: false, granted: true } as const;

/** `promised` tells the messages apart. */
function message(to: string, promised: number, isPatient: boolean): Message {
  return { group: 0, from: 's1', to, term: 1, body: { ...REPLY, promised }, isPatient };
}

function taken(outbox: Outbox, nowMs: number): string[] {
  return [...outbox.take(nowMs)].map(([peer, { messages }]) => {
    return `${peer}: ${messages.map(({ body }) => (body.type === 'vote-reply' ? body.promised : body.type)).join(' ')}`;
  });
}

describe('Outbox', () => {
  it('lets what is patient go along with what is urgent, in the order in which it came up', () => {
    const outbox = new Outbox(1_000);
    outbox.add(message('s2', 1, true), 100);
    outbox.add(message('s3', 2, true), 100);
    expect(taken(outbox, 100)).toEqual([]);
    outbox.add(message('s2', 3, false), 101);
    expect(taken(outbox, 101)).toEqual(['s2: 1 3']);
    expect(outbox.nextDueMs()).toBe(100 + PATIENCE_MS);
    expect(taken(outbox, 100 + PATIENCE_MS)).toEqual(['s3: 2']);
    expect(outbox.nextDueMs()).toBeNull();
  });

  it('lets it go alone when the first of it has waited for long enough, or when it is much', () => {
    const outbox = new Outbox(1_000);
    outbox.add(message('s2', 1, true), 100);
    outbox.add(message('s2', 2, true), 99 + PATIENCE_MS);
    expect(taken(outbox, 99 + PATIENCE_MS)).toEqual([]);
    expect(taken(outbox, 100 + PATIENCE_MS)).toEqual(['s2: 1 2']);
    for (let n = 0; n < 1_000 && !outbox.isLeaving('s2', 200); n++) outbox.add(message('s2', n, true), 200);
    expect(taken(outbox, 200)).toHaveLength(1);
  });

  it('lets it go at once to a server at which a read waits, and for no longer than that', () => {
    const outbox = new Outbox(1_000);
    outbox.hurry('s2', 110);
    outbox.add(message('s2', 1, true), 100);
    outbox.add(message('s3', 2, true), 100);
    expect(taken(outbox, 100)).toEqual(['s2: 1']);
    outbox.add(message('s2', 3, true), 110);
    expect(taken(outbox, 103)).toEqual([]);
    expect(taken(outbox, 110 + PATIENCE_MS)).toEqual(['s3: 2', 's2: 3']);
  });
});
