/**
 * TLS to Postgres, with an authority and certificates of one's own: each way to be let in, and each
 * wrong one.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import { databaseAddress } from '../../../shared/postgres/address.js';
import { authority, stranger } from '../../harness/certificates.js';
import {
  eventually,
  startTestPostgres,
  type TemporaryFolder,
  type TestPostgres,
  temporaryFolder,
} from '../../harness/index.js';
import { WINDOW_MS } from './commands.js';

let server: TestPostgres;
let folder: TemporaryFolder;
const file = (name: string) => join(folder.path, name);

beforeAll(async () => {
  [server, folder] = await Promise.all([startTestPostgres(['craft']), temporaryFolder('tls')]);
  const ca = await authority([{ type: 2, value: 'localhost' }]);
  const [own, client, other] = [await ca.sign('server'), await ca.sign('craft'), await stranger()];
  await writeFile(file('ca.pem'), ca.cert);
  await writeFile(file('other.pem'), other.cert);
  await writeFile(file('client.pem'), client.cert);
  await writeFile(file('client.key'), client.private);
  const admin = postgres(server.url('craft'), { max: 1, onnotice: () => undefined });
  // Its files are the server's own, which runs as another user when root starts it.
  const write = (name: string, text: string, program = `umask 077; cat > ${name}`) =>
    admin.unsafe(`copy (select unnest(string_to_array('${text.trim()}', E'\\n'))) to program '${program}'`);
  await write('server.crt', own.cert);
  await write('server.key', own.private);
  await write('root.crt', ca.cert);
  const certified = 'hostssl all certified all trust clientcert=verify-ca\nhostssl all all all scram-sha-256';
  await write('pg_hba.conf', certified, 'cat > mine; cat mine pg_hba.conf > both; mv both pg_hba.conf');
  await admin.unsafe('create role certified login superuser');
  for (const setting of ["ssl_ca_file = 'root.crt'", 'ssl = on']) await admin.unsafe(`alter system set ${setting}`);
  await admin`select pg_reload_conf()`;
  await admin.end();
  await eventually('TLS', async () => {
    const probe = postgres(server.url('craft'), { max: 1, ssl: 'require', onnotice: () => undefined });
    return probe`select 1`.then(() => true).finally(() => probe.end());
  });
});
afterAll(async () => {
  await server?.stop();
  await folder?.remove();
});

function url(query: string, host = 'localhost', user?: string): string {
  const address = new URL(server.url('craft'));
  address.hostname = host;
  if (user !== undefined) address.username = user;
  return `${address.href}?${query}`;
}

/** Rejects with why the engine cannot be opened. Gives whether its sessions are encrypted. */
async function isEncrypted(databaseUrl: string): Promise<boolean> {
  const engine = new PostgresEngine({ databaseUrl, server: 's1', resultWindowMs: WINDOW_MS });
  try {
    await engine.open();
    const admin = postgres(server.url('craft'), { max: 1, onnotice: () => undefined });
    const [found] = await admin`select bool_and(ssl) as all from pg_stat_ssl join pg_stat_activity using (pid)
      where application_name = 'craft applier s1'`;
    await admin.end();
    return found?.['all'] === true;
  } finally {
    await engine.close();
  }
}

describe('a database is reached', () => {
  const ways: [query: () => string, host?: string, user?: string][] = [
    [() => 'sslmode=require'],
    [() => `sslmode=verify-full&sslrootcert=${file('ca.pem')}`],
    // An authority is given to be looked at.
    [() => `sslrootcert=${file('ca.pem')}`],
    // The certificate is for another host.
    [() => `sslmode=verify-ca&sslrootcert=${file('ca.pem')}`, '127.0.0.1'],
    [
      () =>
        `sslmode=verify-full&sslrootcert=${file('ca.pem')}&sslcert=${file('client.pem')}&sslkey=${file('client.key')}`,
      'localhost',
      'certified',
    ],
  ];
  it.each(ways)('over TLS %#', async (query, host, user) => {
    expect(await isEncrypted(url(query(), host, user))).toBe(true);
  });

  it('without TLS where that is said', async () => {
    expect(await isEncrypted(url(`sslmode=disable&sslrootcert=${file('ca.pem')}`))).toBe(false);
  });
});

describe('a database is not reached', () => {
  const mistakes: [query: () => string, why: RegExp, host?: string, user?: string][] = [
    [() => 'sslmode=verify-full', /self-signed|unable to/],
    [() => `sslrootcert=${file('other.pem')}`, /unable to verify|self-signed|issuer/],
    [() => `sslmode=verify-full&sslrootcert=${file('ca.pem')}`, /does not match certificate|altnames/i, '127.0.0.1'],
    [() => `sslrootcert=${file('none.pem')}`, /ENOENT.*none\.pem/],
    [() => `sslrootcert=${file('ca.pem')}`, /client certificate/, 'localhost', 'certified'],
  ];
  it.each(mistakes)('%#: %s', async (query, why, host, user) => {
    const failure: unknown = await isEncrypted(url(query(), host, user)).catch((error: unknown) => error);
    const { message, cause } = failure as Error;
    expect(`${message} ${cause instanceof Error ? cause.message : ''}`).toMatch(why);
  });
});

it('an address without files is left to the driver, with several hosts, too', () => {
  for (const left of [
    'postgres://u:p@a:1,b:2/x',
    'postgres://u@a/x?sslmode=require',
    'postgres://u@a/x?prepare=false',
  ]) {
    expect(databaseAddress(left)).toEqual({ url: left });
  }
});
