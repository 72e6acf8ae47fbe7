/** Ways to break one Raft group that several planted defects use. */
import { Group } from '../../../shared/raft/group.js';
import type { Message, MessageBody } from '../../../shared/raft/message.js';
import type { GroupState } from '../../../shared/raft/state.js';
import { all, type Replacement, replace } from './plan.js';

export function stateOf(group: Group): GroupState {
  return Reflect.get(group, 'state') as GroupState;
}

/** Changes the messages of a kind that leave a group, whichever way. */
export function changeMessages(change: (body: MessageBody) => MessageBody): () => void {
  const map = (messages: readonly Message[]) => messages.map((message) => ({ ...message, body: change(message.body) }));
  return all(
    replace(Group, 'takeMessages', (original) => map(original())),
    replace(Group, 'takeWrite', (original) => {
      const pending = original();
      return pending === null ? null : { ...pending, after: map(pending.after) };
    }),
  );
}

/** Runs `before` on the state ahead of everything that may decide something in it. */
export function beforeEverything(before: (state: GroupState) => void): () => void {
  const wrap: Replacement = function (original, ...given) {
    before(stateOf(this));
    return original(...given);
  };
  return all(...['tick', 'receive', 'propose', 'closeUpTo', 'written'].map((method) => replace(Group, method, wrap)));
}

/** Messages that must wait for the disk leave at once, where `isMeant`. */
export function sendEarly(isMeant: (message: Message) => boolean): () => void {
  return replace(Group, 'takeMessages', function (original) {
    const { outboxDurable } = stateOf(this);
    const early = outboxDurable.filter(isMeant);
    const late = outboxDurable.filter((message) => !isMeant(message));
    outboxDurable.splice(0, outboxDurable.length, ...late);
    return [...original(), ...early];
  });
}
