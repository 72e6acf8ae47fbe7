/** What could not be looked at, besides what is an error by itself. Pure. */
import { type Check, failure, type Sighting } from './check.js';
import { type Facts, factOf } from './facts.js';

const LOOKS = [
  ['account', 'JetStream'],
  ['rights', 'permissions'],
  ['streams', 'streams'],
  ['snapshots', 'snapshots'],
  ['servers', 'servers'],
  ['clocks', 'clocks'],
  ['disk', 'disk'],
] as const satisfies readonly (readonly [keyof Facts, string])[];

/** A database that answers, but not all that was asked. */
function unread({ database }: Facts): Sighting[] {
  const known = factOf(database);
  if (known === undefined) return [];
  const { place, missingRights, connections, state } = known;
  return [missingRights, connections, state].flatMap((fact) => failure(place, fact));
}

/** A disk of which is known what it is, and not how fast. */
function unwritten({ disk }: Facts): Sighting[] {
  const known = factOf(disk);
  if (known === undefined || 'syncMs' in known.writes) return [];
  const what = `the speed of its disk was not measured: ${known.writes.why}`;
  return [{ where: known.path, what, remedy: 'make room, or run it as the user of the server' }];
}

export const LOOKING_CHECKS: readonly Check[] = [
  {
    code: 'not-looked-at',
    level: 'warning',
    about: 'Something could not be looked at: a right is missing, or there was no answer.',
    find: (facts) => [
      ...LOOKS.flatMap(([key, where]) => failure(where, facts[key])),
      ...unread(facts),
      ...unwritten(facts),
      ...(factOf(facts.streams)?.isCut === true
        ? [
            {
              where: 'streams',
              what: 'there are too many to look at all of them',
              remedy: 'give craft a NATS account of its own',
            },
          ]
        : []),
    ],
  },
  {
    code: 'not-given',
    level: 'note',
    about: 'The address of the database, or the data folder, was not given. This changes no exit code.',
    find: (facts) =>
      (['database', 'disk'] as const).flatMap((key) => {
        const fact = facts[key];
        return fact.is === 'not given' ? [{ where: key, what: fact.why, remedy: fact.remedy }] : [];
      }),
  },
];
