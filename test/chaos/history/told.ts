/**
 * What replies tell about places in the merged order, over all keys: that it holds together, and
 * that real time is kept. Needs no search, and names the two replies that contradict each other.
 */
import { type Attempt, canonical, eventsOf, isFailed } from './attempts.js';
import type { Completion, Invocation } from './format.js';
import { comparePlaces, type Place, placeOf } from './operations.js';

export interface Contradiction {
  readonly message: string;
  /** The events that contradict each other, in order of time. */
  readonly events: readonly (Invocation | Completion)[];
}

interface Told {
  readonly attempt: Attempt;
  readonly completion: Completion;
  readonly place: Place;
  /** Attempts of one command share it. */
  readonly command: number;
  /** The place is where the command took effect, not only where this attempt's entry is. */
  readonly isExact: boolean;
  readonly start: number;
  readonly after: number;
}

export function findContradictions(attempts: readonly Attempt[]): Contradiction[] {
  const told = collect(attempts);
  return [
    ...sameCommand(told),
    ...distinctPlaces(told),
    ...indexOrder(told),
    ...realTime(attempts, told),
    ...craftAfter(told),
  ];
}

function collect(attempts: readonly Attempt[]): Told[] {
  const commands = new Map<string, Attempt[]>();
  for (const [i, attempt] of attempts.entries()) {
    if (attempt.invocation.f === 'read' || isFailed(attempt)) continue;
    const name = attempt.invocation.id ?? `\0${i}`;
    const same = commands.get(name);
    if (same === undefined) commands.set(name, [attempt]);
    else same.push(attempt);
  }
  const told: Told[] = [];
  for (const [command, same] of [...commands.values()].entries()) {
    for (const attempt of same) {
      const { invocation, completion } = attempt;
      const place = placeOf([attempt]);
      if (completion === undefined || place === undefined) continue;
      const isApplied = (invocation.ack ?? 'applied') === 'applied';
      // An applied command may have taken effect through any of its attempts; before that, a reply
      // tells of this attempt's entry.
      const by = isApplied ? same : [attempt];
      told.push({
        attempt,
        completion,
        place,
        command,
        isExact: isApplied || same.length === 1,
        start: Math.min(...by.map((one) => one.invocation.time)),
        after: Math.min(...by.map((one) => one.invocation.after ?? 0)),
      });
    }
  }
  return told;
}

/**
 * T8: an applied command has one place, whichever client asks, and no entry of it that was
 * acknowledged earlier comes before that.
 */
function* sameCommand(told: readonly Told[]): Generator<Contradiction> {
  const exact = new Map<number, Told>();
  for (const one of told) if (one.completion.index !== undefined) exact.set(one.command, one);
  for (const one of told) {
    const known = exact.get(one.command);
    if (known === undefined || known === one) continue;
    const order = comparePlaces(one.place, known.place);
    const isSame = order === 0 && one.completion.index === known.completion.index;
    if (one.completion.index === undefined ? order < 0 : !isSame) {
      yield contradiction('one command was told two places', known, one);
    }
  }
}

/** T1, T4: two commands never share a place or a merged index. */
function* distinctPlaces(told: readonly Told[]): Generator<Contradiction> {
  const places = new Map<string, Told>();
  for (const one of told) {
    const { timestamp, group } = one.place;
    const names = [`place ${timestamp}/${group}`];
    if (one.completion.index !== undefined) names.push(`merged index ${one.completion.index}`);
    for (const name of names) {
      const other = places.get(name);
      if (other === undefined) places.set(name, one);
      else if (other.command !== one.command)
        yield contradiction(`two commands were told the same ${name}`, other, one);
    }
  }
}

/** T4: the merged log is in order of place. */
function* indexOrder(told: readonly Told[]): Generator<Contradiction> {
  const applied = told.filter(({ completion }) => completion.index !== undefined);
  applied.sort((a, b) => comparePlaces(a.place, b.place));
  for (const [i, one] of applied.entries()) {
    const before = applied[i - 1];
    if (before === undefined || before.command === one.command) continue;
    if ((before.completion.index ?? 0) > (one.completion.index ?? 0)) {
      yield contradiction('the order of merged indexes is not that of places', before, one);
    }
  }
}

/**
 * T7: what starts after an acknowledgement as applied or ordered, or after a read has seen the
 * command, comes after it.
 */
function* realTime(attempts: readonly Attempt[], told: readonly Told[]): Generator<Contradiction> {
  const finals: { time: number; place: Place; attempt: Attempt }[] = [];
  for (const { attempt, completion, place } of told) {
    if (attempt.invocation.ack !== 'committed') finals.push({ time: completion.time, place, attempt });
  }
  const written = writersByValue(attempts, told);
  for (const attempt of attempts) {
    const { invocation, completion } = attempt;
    if (invocation.f !== 'read' || completion?.type !== 'ok') continue;
    const writer = written.get(`${invocation.key} ${canonical(completion.value ?? null)}`);
    if (writer) finals.push({ time: completion.time, place: writer.place, attempt });
  }
  finals.sort((a, b) => a.time - b.time);
  const started = [...told].sort((a, b) => a.start - b.start);
  let last: (typeof finals)[number] | undefined;
  let next = 0;
  for (const one of started) {
    for (let final = finals[next]; final !== undefined && final.time < one.start; final = finals[++next]) {
      if (last === undefined || comparePlaces(final.place, last.place) > 0) last = final;
    }
    if (last === undefined || comparePlaces(one.place, last.place) > 0) continue;
    const { timestamp, group } = last.place;
    const message = `a write has a place before ${timestamp}/${group}, which was final before it began`;
    yield { message, events: eventsOf([last.attempt, one.attempt]) };
  }
}

/** The one command with an exact place that writes a value to a key; null when several write it. */
function writersByValue(attempts: readonly Attempt[], told: readonly Told[]): Map<string, Told | null> {
  const places = new Map(told.filter(({ isExact }) => isExact).map((one) => [one.attempt, one]));
  const writers = new Map<string, { id: string | undefined; told: Told | null }>();
  for (const attempt of attempts) {
    const { f, key, value = null, id } = attempt.invocation;
    if (f === 'read' || isFailed(attempt)) continue;
    const name = `${key} ${canonical(value)}`;
    const known = writers.get(name);
    const isSame = known === undefined || (id !== undefined && known.id === id);
    writers.set(name, { id, told: isSame ? (places.get(attempt) ?? known?.told ?? null) : null });
  }
  return new Map([...writers].map(([name, writer]) => [name, writer.told]));
}

/** T7: a command with Craft-After has a larger timestamp. */
function* craftAfter(told: readonly Told[]): Generator<Contradiction> {
  for (const one of told) {
    if (one.place.timestamp > one.after) continue;
    yield { message: `a command was to come after ${one.after}`, events: eventsOf([one.attempt]) };
  }
}

function contradiction(message: string, a: Told, b: Told): Contradiction {
  return { message, events: eventsOf([a.attempt, b.attempt]) };
}
