/**
 * Addresses of a database: what is told of them has no part of the password, and the driver finds
 * the hosts whatever the password is.
 */
import { describe, expect, it } from 'vitest';
import { databaseFact } from '../../../services/cli/doctor/collect/database.js';
import { databaseAddress, databasePlace } from '../../../shared/postgres/address.js';

describe('the place of a database', () => {
  it.each([
    ['postgres://u:p@h/db', 'h/db', ['h']],
    ['postgres://u:p@ss@h/db', 'h/db', ['h']],
    ['postgres://u@domain:p@ss@h:1/db', 'h:1/db', ['h']],
    ['postgresql://u:p@h1:1,h2:2/db?sslmode=require', 'h1:1,h2:2/db', ['h1', 'h2']],
    ['postgres://[::1]:5432/db', '[::1]:5432/db', ['[::1]']],
    ['postgres://h', 'h/', ['h']],
    ['postgres:///db', 'local socket/db', ['']],
  ])('of %s is %s', (url, name, hosts) => {
    expect(databasePlace(url)).toEqual({ name, hosts });
  });

  it.each([
    ...['postgres://u:12/34@h/db', 'postgres://u:12?34@h/db', 'postgres://u:12#34@h/db', 'postgres://u:p@12/34@h/db'],
    ...['postgres://u:12/3?a=4@h/db', 'mysql://u:12@h/db', 'u:12@h/db', '12', ''],
  ])('is not told of %s, which may have a part of the password where the host should be', (url) => {
    expect(() => databasePlace(url)).toThrow(new TypeError('no address of Postgres'));
  });
});

it.each([
  ['postgres://u:p@ss@h1,h2/db', 'postgres://u:p%40ss@h1,h2/db'],
  ['postgres://u:p%40ss@h/db?a=b', 'postgres://u:p%40ss@h/db?a=b'],
  ['postgres://h/db', 'postgres://h/db'],
])('the driver is given %s as %s', (url, given) => {
  expect(databaseAddress(url)).toEqual({ url: given });
});

it('the certificate is looked at for the hosts, not for what an @ in the password leaves', () => {
  const { ssl } = databaseAddress('postgres://u:p@ss@h:5432/db?sslmode=verify-full');
  const certificate = (name: string) => ({ subject: { CN: name }, subjectaltname: `DNS:${name}` }) as never;
  expect(ssl?.checkServerIdentity?.('', certificate('h'))).toBeUndefined();
  expect(ssl?.checkServerIdentity?.('', certificate('x'))).toBeInstanceOf(Error);
});

describe('what craft doctor says of a database that cannot be reached', () => {
  it.each(['se/cret@h', 'se?cret@h', 'se#cret@h', 'cret%se@h'])('has nothing of the address …:%s/db', async (rest) => {
    const said = await databaseFact(`postgres://u:12${rest}/db`);
    expect(said).toMatchObject({ is: 'failed', why: 'its address is not a URL' });
    expect(JSON.stringify(said)).not.toMatch(/cret|12/);
  });

  it('has its place, and nothing of a password with @', async () => {
    const said = await databaseFact('postgres://u:se@cret@127.0.0.1:1/db');
    expect(said).toMatchObject({ is: 'failed', remedy: expect.stringContaining('at 127.0.0.1:1/db,') });
    expect(JSON.stringify(said)).not.toMatch(/se@|cret/);
  });
});
