/**
 * When a healed cluster has come to rest: every operation has ended, every log and state is the
 * same, leaders are where they belong.
 */
import { EntryKind } from '../../shared/raft/entry.js';
import type { World } from './world.js';

/** What is still missing, or null. */
export function whatIsNotAtRest(world: World): string | null {
  return (
    pauses(world) ??
    writes(world) ??
    operator(world) ??
    operations(world) ??
    logs(world) ??
    mergedLogs(world) ??
    closing(world) ??
    states(world)
  );
}

/** Every state has been compared with the others', and nothing more is wanted of the log for it. */
function states({ operator }: World): string | null {
  const busy = operator.members.find(({ applier }) => applier?.core.isAtRest !== true);
  if (busy !== undefined) return `the applier of ${busy.name} is not at rest`;
  return operator.whatIsNotCompared;
}

/** What has been held up by a pause comes when the pause is over. */
function pauses({ servers, queue }: World): string | null {
  const paused = servers.find(({ pausedUntilUs }) => pausedUntilUs + 10_000 > queue.nowUs);
  return paused === undefined ? null : `${paused.name} is paused`;
}

/** A write that hangs still costs its server the leaderships, although nothing else happens. */
function writes({ operator }: World): string | null {
  const writing = operator.members.find(({ replica }) => replica !== null && replica.writing !== null);
  return writing === undefined ? null : `a write of ${writing.name} is under way`;
}

/** Leaders go on closing by time for some round trips after the last command (T5). */
function closing({ operator }: World): string | null {
  const one = operator.members.find(({ replica }) => replica?.core.isClosingByTime === true);
  return one === undefined ? null : `${one.name} closes by time`;
}

function operator(world: World): string | null {
  return world.operator.isBusy ? 'a change of members has not ended' : null;
}

function operations({ clients }: World): string | null {
  if (clients.open === 0) return null;
  const open = clients.operations.filter(({ state }) => state === 'open');
  const [first] = open;
  return `${open.length} operations have not ended, the first is ${first?.kind} ${first?.number} (${first?.level}, ${first?.attempts} attempts)`;
}

function logs(world: World): string | null {
  for (let group = 0; group < world.options.groups; group++) {
    const { members } = world.operator;
    const cores = members.map(({ replica }) => replica?.core.groups[group]);
    const leaders = cores.filter((core) => core?.role === 'leader');
    const [leader] = leaders;
    if (leaders.length !== 1 || leader === undefined) return `group ${group} has ${leaders.length} leaders`;
    for (const [index, core] of cores.entries()) {
      const isEqual =
        core?.term === leader.term && core.commitIndex === leader.lastIndex && core.lastIndex === leader.lastIndex;
      if (!isEqual) {
        return `group ${group} at ${members[index]?.name}: term ${core?.term}, log up to ${core?.lastIndex}, committed up to ${core?.commitIndex}; its leader: term ${leader.term}, log up to ${leader.lastIndex}, committed up to ${leader.commitIndex}`;
      }
    }
    const preferred = leader.configuration.voters[group % leader.configuration.voters.length];
    if (cores[members.findIndex(({ name }) => name === preferred)] !== leader)
      return `group ${group} is not led by its preferred server ${preferred}`;
  }
  return null;
}

function mergedLogs(world: World): string | null {
  let commands = 0;
  for (const log of world.observer.ledger.committed)
    for (const { kind } of log) if (kind === EntryKind.command) commands += 1;
  for (const { name, stream, database } of world.operator.members) {
    const { mergedIndex } = stream.position();
    if (mergedIndex !== commands) return `${name} has merged ${mergedIndex} of ${commands} commands`;
    if (database.mergedIndex !== commands) return `${name} has applied ${database.mergedIndex} of ${commands} commands`;
  }
  return null;
}
