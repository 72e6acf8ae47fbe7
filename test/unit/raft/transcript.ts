/**
 * Plays a transcript: a script of a few words a line, each followed by what the replicas of one
 * group answered to it. In the manner of etcd's interaction tests: readable, exact, rewritten with
 * UPDATE_TRANSCRIPTS=1.
 *
 *   cluster A B C …          a group on these servers; A is the preferred leader
 *   pieces                   from then on one entry a message (before `cluster`)
 *   far                      the word of a leader takes long: followers tell each other what they have
 *   pass MS                  time passes; everybody alive gets a tick
 *   campaign S               the election timeout of S passes (and of nobody else)
 *   gone S T                 the transport tells S that no process takes messages for T; S stands at the next tick if it may
 *   deliver [FROM TO]        messages arrive, and those that they cause, until none is left; only that link when one is named
 *   step [FROM TO]           the same without those that they cause
 *   drop [FROM TO]           messages on their way are lost
 *   propose S TEXT …         commands for the leader S
 *   close S MS               somebody waits for S's group to close up to MS after the start
 *   transfer S T             leadership goes from S to T
 *   join D                   a new server, without a configuration until a leader sends it one
 *   configure S add|promote|demote|remove D
 *                            S changes the group's members
 *   recover S A B            S, which is down, is told by hand that only A and B are left
 *   compact S N              snapshots cover the log of S up to index N
 *   install S FROM N         the state machine of S comes to stand where FROM's log has index N
 *   clock S MS               the wall clock of S is this much off from now on
 *   stall S | write S        the disk of S stops, and does its work again
 *   crash S | restart S      loses what is not on disk; comes back with what is
 *   status                   what everybody has
 */
import { ClockGuard } from '../../../shared/clock/guard.js';
import type { DurableChange } from '../../../shared/raft/durable.js';
import {
  type ConfigurationChange,
  EntryKind,
  type HardState,
  LOG_START,
  type LogEntry,
  type LogPosition,
  type PlacedConfiguration,
  recoveredConfiguration,
} from '../../../shared/raft/entry.js';
import { Group, type PendingWrite } from '../../../shared/raft/group.js';
import type { Message } from '../../../shared/raft/message.js';
import { GROUP_DEFAULTS } from '../../../shared/raft/options.js';
import { PromiseLimit } from '../../../shared/raft/promise-limit.js';
import type { GroupEvent } from '../../../shared/raft/state.js';
import { decodeConfiguration, encodeConfiguration } from '../../../shared/wire/configuration.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';

const EPOCH_US = 1_790_000_000_000_000;
const WINDOW_US = 250_000;

interface Disk {
  hardState: HardState;
  base: LogPosition;
  configurations: readonly PlacedConfiguration[];
  /** Those after the base. */
  entries: LogEntry[];
  limit: number;
}

interface Node {
  readonly name: string;
  /** Who it believes to be the members of the group when it has no log. */
  readonly bootstrap: readonly string[];
  readonly disk: Disk;
  group: Group | null;
  clock: ClockGuard;
  limit: PromiseLimit;
  offsetMs: number;
  isStalled: boolean;
}

export class Transcript {
  private readonly nodes = new Map<string, Node>();
  private wires: Message[] = [];
  private nowMs = 0;
  private appendBytesMax: number = GROUP_DEFAULTS.appendBytesMax;
  private output: string[] = [];
  /** Random numbers are as small as can be. */
  private isPrompt = false;

  /** Runs one line and returns what it gave. */
  run(line: string): string[] {
    this.output = [];
    const [verb = '', ...words] = line.trim().split(/\s+/);
    this.execute(verb, words);
    return this.output;
  }

  private execute(verb: string, words: readonly string[]): void {
    const [a = '', b = ''] = words;
    if (verb === 'pieces') this.appendBytesMax = 1;
    else if (verb === 'cluster') for (const node of words.map((name) => this.add(name, words))) this.start(node);
    else if (verb === 'far') for (const { group } of this.nodes.values()) group?.expectSlowNetwork(true);
    else if (verb === 'pass') this.pass(Number(a));
    else if (verb === 'campaign') this.campaign(a);
    else if (verb === 'gone') this.gone(a, b);
    else if (verb === 'deliver') while (this.step(a, b)) this.settle();
    else if (verb === 'step') this.step(a, b);
    else if (verb === 'drop') for (const message of this.take(a, b)) this.say(`lost: ${show(message)}`);
    else if (verb === 'propose') this.propose(a, words.slice(1));
    else if (verb === 'close') this.group(a).closeUpTo(EPOCH_US + Number(b) * 1_000, this.nowMs);
    else if (verb === 'transfer') this.say(this.group(a).transfer(b, this.nowMs) ? 'begun' : 'refused');
    else if (verb === 'join') this.start(this.add(a, []));
    else if (verb === 'configure')
      this.configure(a, { type: b as ConfigurationChange['type'], server: words[2] ?? '' });
    else if (verb === 'recover') this.node(a).disk.configurations = [recoveredConfiguration(words.slice(1))];
    else if (verb === 'compact') this.group(a).compact(this.position(a, Number(b)), this.nowMs);
    else if (verb === 'install') this.install(a, this.position(b, Number(words[2])));
    else if (verb === 'clock') this.node(a).offsetMs = Number(b);
    else if (verb === 'stall') this.node(a).isStalled = true;
    else if (verb === 'write') this.node(a).isStalled = false;
    else if (verb === 'crash') this.node(a).group = null;
    else if (verb === 'restart') this.start(this.node(a));
    else if (verb === 'status') this.status();
    else throw new Error(`unknown: ${verb}`);
    this.settle();
  }

  private add(name: string, bootstrap: readonly string[]): Node {
    const hardState = { term: 0, votedFor: null, commitIndex: 0 };
    const disk = { hardState, base: LOG_START, configurations: [], entries: [], limit: 0 };
    const node = {
      name,
      bootstrap,
      disk,
      group: null,
      offsetMs: 0,
      isStalled: false,
      clock: newClock(),
      limit: new PromiseLimit(0, WINDOW_US),
    };
    this.nodes.set(name, node);
    return node;
  }

  private start(node: Node): void {
    const { disk } = node;
    node.clock = newClock();
    node.limit = new PromiseLimit(disk.limit, WINDOW_US);
    this.advance(node);
    const termStarts = disk.entries
      .filter(({ term }, at) => term !== disk.entries[at - 1]?.term)
      .map(({ term, index }) => ({ term, firstIndex: index }));
    const { hardState, base, configurations } = disk;
    const lastIndex = base.index + disk.entries.length;
    const restored = { hardState, base, configurations, lastIndex, termStarts, tail: [...disk.entries] };
    const options = {
      ...GROUP_DEFAULTS,
      appendBytesMax: this.appendBytesMax,
      group: 0,
      server: node.name,
      bootstrap: { voters: node.bootstrap, learners: [] },
      clock: node.clock,
      promiseLimit: node.limit,
      encodeEntry,
      encodeConfiguration,
      decodeConfiguration,
      // Timeouts never pass by themselves within a script's time: `campaign` says when.
      random: () => (this.isPrompt ? 0 : 1_000),
    };
    const isNew = lastIndex === 0 && hardState.term === 0;
    node.group = new Group(options, isNew ? null : restored, this.nowMs);
  }

  private advance(node: Node): void {
    node.clock.advance(EPOCH_US + (this.nowMs + node.offsetMs) * 1_000, this.nowMs);
  }

  private pass(ms: number): void {
    this.nowMs += ms;
    for (const node of this.nodes.values()) this.advance(node);
    for (const { group } of this.nodes.values()) group?.tick(this.nowMs);
  }

  private campaign(name: string): void {
    // Long enough for nobody to protect a leader that has gone silent (check-quorum is up to
    // `pass`).
    this.nowMs += GROUP_DEFAULTS.electionTimeoutMs;
    for (const node of this.nodes.values()) this.advance(node);
    const group = this.group(name);
    const state = Reflect.get(group, 'state') as { electionDeadlineMs: number };
    state.electionDeadlineMs = this.nowMs;
    group.tick(this.nowMs);
  }

  private gone(name: string, peer: string): void {
    this.isPrompt = true;
    this.group(name).unreachable(peer, this.nowMs);
    this.isPrompt = false;
  }

  private propose(name: string, texts: readonly string[]): void {
    const proposals = texts.map((text) => ({ kind: EntryKind.command, body: new TextEncoder().encode(text) }));
    const result = this.group(name).propose(proposals, this.nowMs);
    if (typeof result === 'string') this.say(`refused: ${result}`);
  }

  private configure(name: string, change: ConfigurationChange): void {
    const refusal = this.group(name).configure(change, this.nowMs);
    if (refusal !== null) this.say(`refused: ${refusal}`);
  }

  private install(name: string, position: LogPosition): void {
    if (!this.group(name).install(position)) this.say('not yet');
  }

  private position(name: string, index: number): LogPosition {
    const { base, entries } = this.node(name).disk;
    const entry = entries[index - base.index - 1];
    if (entry === undefined) throw new Error(`the disk of ${name} has no entry ${index}`);
    return { index, term: entry.term, timestamp: entry.timestamp };
  }

  private take(from: string, to: string): Message[] {
    const isMeant = (message: Message) => from === '' || (message.from === from && message.to === to);
    const taken = this.wires.filter(isMeant);
    this.wires = this.wires.filter((message) => !isMeant(message));
    return taken;
  }

  /** False when there was nothing to deliver. */
  private step(from: string, to: string): boolean {
    const taken = this.take(from, to);
    for (const message of taken) {
      const receiver = this.node(message.to);
      this.say(receiver.group === null ? `${show(message)} (nobody there)` : show(message));
      this.advance(receiver);
      receiver.group?.receive(message, this.nowMs);
      this.settle();
    }
    return taken.length > 0;
  }

  /**
   * Does what the groups want done, until they want nothing: disks that are not stalled write at
   * once.
   */
  private settle(): void {
    for (let moved = true; moved; ) {
      moved = false;
      for (const node of this.nodes.values()) {
        if (node.group === null) continue;
        this.wires.push(...node.group.takeMessages());
        // Nothing else goes anywhere that it could wait for.
        for (const [peer] of [...node.group.owed()]) this.wires.push(...node.group.takeOwed(peer, this.nowMs));
        for (const event of node.group.takeEvents()) this.say(`${node.name}: ${showEvent(event)}`);
        if (node.isStalled) continue;
        const pending = node.group.takeWrite();
        if (pending === null && !node.limit.isNeeded) continue;
        this.write(node, node.group, pending);
        moved = true;
      }
    }
  }

  private write(node: Node, group: Group, pending: PendingWrite | null): void {
    const write = pending?.write ?? null;
    const limit = node.limit.forWrite(group.trustedTimestamp, write !== null);
    if (limit !== null) {
      node.disk.limit = limit;
      node.limit.written(limit);
    }
    if (write !== null) land(node.disk, write);
    if (pending !== null) {
      this.wires.push(...pending.after);
      group.written(pending, this.nowMs);
    }
    if (limit !== null) group.limitRaised(this.nowMs);
  }

  private status(): void {
    for (const { name, group, disk } of this.nodes.values()) {
      if (group === null) {
        const from = disk.base.index === 0 ? '' : ` after ${disk.base.index}`;
        this.say(`${name} is down, its disk has term ${disk.hardState.term}, ${disk.entries.length} entries${from}`);
        continue;
      }
      const from = group.base.index;
      const after = from === 0 ? '' : `after ${from}/t${group.base.term}: `;
      const terms = Array.from({ length: group.lastIndex - from }, (_, at) => group.termAt(from + at + 1)).join(' ');
      const times = `watermark ${time(group.watermark)}, promised ${time(group.promised)}`;
      this.say(
        `${name} ${group.role} in term ${group.term}, log [${after}${terms}], committed ${group.commitIndex}, ${times}${showMembers(group.configuration)}`,
      );
    }
  }

  private say(line: string): void {
    this.output.push(line);
  }

  private node(name: string): Node {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no server ${name}`);
    return node;
  }

  private group(name: string): Group {
    const { group } = this.node(name);
    if (group === null) throw new Error(`${name} is down`);
    return group;
  }
}

function land(disk: Disk, { hardState, base, configurations, truncateFrom, entries = [] }: DurableChange): void {
  disk.hardState = hardState ?? disk.hardState;
  disk.configurations = configurations ?? disk.configurations;
  if (base !== undefined) {
    const stored = disk.entries[base.index - disk.base.index - 1];
    disk.entries = stored?.term === base.term ? disk.entries.slice(base.index - disk.base.index) : [];
    disk.base = base;
  }
  if (truncateFrom !== undefined) disk.entries.length = truncateFrom - 1 - disk.base.index;
  disk.entries.push(...entries);
}

function showEvent(event: GroupEvent): string {
  if (event.type === 'snapshot-needed') return `${event.type} up to ${event.index}`;
  if (event.type === 'impossible') return `${event.type}, from ${event.from}: ${event.what}`;
  return 'term' in event ? `${event.type} in term ${event.term}` : event.type;
}

/** Only once they are others than at the beginning. */
function showMembers({ index, voters, learners }: PlacedConfiguration): string {
  return index === 0 ? '' : `, members ${voters.join(' ')}${learners.length > 0 ? ` (${learners.join(' ')})` : ''}`;
}

function newClock(): ClockGuard {
  return new ClockGuard({ offsetUsMax: 500_000, promiseWindowUs: WINDOW_US });
}

/** Milliseconds since the start of the script. */
function time(timestamp: number): string {
  return timestamp < EPOCH_US / 2 ? '-' : `${(timestamp - EPOCH_US) / 1_000}ms`;
}

function show({ from, to, term, body }: Message): string {
  const head = `${from}->${to} t${term} ${body.type}`;
  switch (body.type) {
    case 'append': {
      const entries = body.entries.map((entry) => `${entry.index}/t${entry.term}@${time(entry.timestamp)}`).join(' ');
      const closed = body.closed === null ? '' : ` closed ${time(body.closed.timestamp)} at ${body.closed.index}`;
      const quorum = body.quorumClosed === null ? '' : ` by quorum ${time(body.quorumClosed.timestamp)}`;
      const durable = body.durableIndex > body.commitIndex ? ` durable ${body.durableIndex}` : '';
      return `${head} after ${body.prevIndex}/t${body.prevTerm} [${entries}] commit ${body.commitIndex}${durable}${closed}${quorum}${body.tellsAll ? ' tells all' : ''}`;
    }
    case 'snapshot': {
      const members = body.configurations.map(({ index, voters }) => `${voters.join(' ')} at ${index}`).join(', ');
      return `${head} up to ${body.index} commit ${body.commitIndex} members ${members}`;
    }
    case 'append-reply':
      return `${head} ${body.refusal === 'none' ? `match ${body.matchIndex}` : `${body.refusal} ${body.conflictIndex}/t${body.conflictTerm}`} promised ${time(body.promised)}`;
    case 'vote':
      return `${head}${body.preVote ? ' (pre)' : ''}${body.transfer ? ' (transfer)' : ''} log ${body.lastIndex}/t${body.lastTerm}`;
    case 'vote-reply':
      return `${head}${body.preVote ? ' (pre)' : ''} ${body.granted ? 'yes' : 'no'} promised ${time(body.promised)}`;
    case 'timeout-now':
      return head;
  }
}
