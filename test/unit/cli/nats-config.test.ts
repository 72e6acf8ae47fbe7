/**
 * What `craft nats-config` writes. That a NATS server takes it, and what it allows:
 * test/integration/cluster/accounts.test.ts.
 */
import { mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import bcrypt from 'bcryptjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type NatsConfig, natsConfiguration, quoted, userEnvironment } from '../../../services/cli/nats-config.js';
import { NatsConfigError, writeNatsFiles } from '../../../services/cli/nats-files.js';
import { natsAddress } from '../../../shared/wire/connection.js';
import { type TemporaryFolder, temporaryFolder } from '../../harness/folder.js';

const base: NatsConfig = {
  ...{ cluster: 'craft', servers: ['s1'], clients: ['client'], listen: '0.0.0.0', port: 4222, routePort: 6222 },
  ...{ monitorPort: 8222, storeDir: '/data', tls: undefined, routesPassword: 'a b/@:"$x' },
  nodes: [
    { name: 'n1', host: 'n1' },
    { name: 'n2', host: '[::1]' },
  ],
  hashes: Object.fromEntries(
    ['services', 'operator', 'reader', 'system', 'client', 'routes'].map((one) => [one, `#${one}`]),
  ),
};
const [n1 = { name: '', host: '' }] = base.nodes;

describe('the text', () => {
  it('quotes whatever there is', () => {
    expect(quoted('plain $x; {#}')).toBe('"plain $x; {#}"');
    expect(quoted('"\\\n\té\0')).toBe('"\\x22\\x5c\\x0a\\x09\\xc3\\xa9\\x00"');
  });

  it('has monitoring for the machine itself alone, and routes with a password', () => {
    const text = natsConfiguration(base, n1);
    expect(text).toContain('http: "127.0.0.1:8222"');
    expect(text).toContain('"nats://routes:a%20b%2F%40%3A%22%24x@[::1]:6222"');
    expect(text).toContain('authorization { user: routes, password: "#routes", timeout: 5 }');
    expect(text).not.toContain('tls {');
    expect(natsConfiguration({ ...base, nodes: [n1] }, n1)).not.toContain('routes');
  });

  it('joins sites by gateways that let in nobody else, also a site of one node', () => {
    const sites = [
      { name: 'eu', hosts: ['n1', 'n2'] },
      { name: 'us', hosts: ['[::2]'] },
    ];
    const text = natsConfiguration({ ...base, nodes: [n1], site: 'eu', sites, gatewayPort: 7222 }, n1);
    expect(text).toContain('cluster {\n  name: "eu"\n  listen: "0.0.0.0:6222"\n');
    expect(text).toContain('gateway {\n  name: "eu"\n  listen: "0.0.0.0:7222"\n  authorization { user: routes,');
    expect(text).toContain('  reject_unknown_cluster: true\n');
    const url = (host: string) => `"nats://routes:a%20b%2F%40%3A%22%24x@${host}:7222"`;
    expect(text).toContain(`{ name: "eu", urls: [${url('n1')}, ${url('n2')}] }`);
    expect(text).toContain(`{ name: "us", urls: [${url('[::2]')}] }`);
    expect(natsConfiguration(base, n1)).not.toContain('gateway');
  });

  it('has TLS for clients and for routes, which verify each other in any case', () => {
    const tls = { cert: '/c "1".pem', key: '/k.pem', ca: '/a.pem', verifyClients: false };
    const files = 'cert_file: "/c \\x221\\x22.pem", key_file: "/k.pem", ca_file: "/a.pem"';
    expect(natsConfiguration({ ...base, tls }, n1).match(/tls \{.*\}/g)).toEqual([
      `tls { ${files}, verify: false }`,
      `tls { ${files}, verify: true }`,
    ]);
    expect(userEnvironment({ ...base, tls }, 'client', 'x')).toContain('=tls://client:x@n1:4222,tls://');
  });

  it('gives no account more than it needs', () => {
    const text = natsConfiguration(
      { ...base, cluster: 'Bank-1', clients: ['client', 'other'], hashes: { ...base.hashes, other: '#o' } },
      n1,
    );
    const exported = [...text.matchAll(/service: "([^"]+)".*accounts: \[(.*)\]/g)].map(([, subject, accounts]) => [
      subject,
      accounts,
    ]);
    const both = '"CLIENT_client", "CLIENT_other"';
    expect(exported).toEqual([
      ...['cmd.>', 'group.*.cmd.>', 'batch', 'group.*.batch', 'query.>'].map((one) => [`Bank-1.${one}`, both]),
      ...['server.*.cmd.>', 'server.*.batch', 'server.*.query.>', 'sync.*'].map((one) => [`Bank-1.${one}`, both]),
      ...['status', 'applied', 'health'].map((one) => [`Bank-1.admin.${one}`, `${both}, "READERS"`]),
      ['Bank-1.admin.outcomes.*', '"READERS"'],
      ['$JS.API.DIRECT.GET.BANK-1_LOG_s1', '"READERS"'],
      ['$JS.API.DIRECT.GET.BANK-1_LOG_s1.Bank-1.log.s1', '"READERS"'],
    ]);
    expect(text.match(/subscribe: \[[^\]]*\]/g)).toEqual(
      ['operator', 'client', 'other', 'reader'].map((user) => `subscribe: ["_INBOX_${user}.>"]`),
    );
  });

  it('of a user is safe for a shell, and says the very password to the client of NATS', () => {
    for (const password of ['123456', 'a b', `!'()*~;$x"\\é`, '$2a$10$abc', '@:/,%']) {
      const text = userEnvironment(base, 'client', password);
      expect(text).toMatch(/^(?:[A-Z_]+=[A-Za-z0-9:/@.,%_[\]-]+\n){3}$/);
      const [, url = ''] = /^CRAFT_NATS_URL=(.*)$/m.exec(text) ?? [];
      expect(natsAddress(url)).toEqual({
        servers: ['nats://n1:4222', 'nats://[::1]:4222'],
        user: 'client',
        pass: password,
      });
    }
  });
});

describe('the files', () => {
  let folder: TemporaryFolder;
  let path: string;
  beforeEach(async () => {
    folder = await temporaryFolder('nats-config');
    path = join(folder.path, 'new', 'nats');
  });
  afterEach(() => folder.remove());

  const { hashes: _hashes, routesPassword: _routes, ...config } = base;
  const write = (environment: NodeJS.ProcessEnv = {}, force = false) =>
    writeNatsFiles({ folder: path, config, environment, force });
  const passwords = async () =>
    JSON.parse(await readFile(join(path, 'passwords.json'), 'utf8')) as Record<string, string>;

  it('are for their owner alone, with random passwords, and the nodes have hashes of them', async () => {
    const written = await write({ CRAFT_CLIENT_PASSWORD: '$2a$10$abc' });
    const names = [
      'client.env',
      'n1.conf',
      'n2.conf',
      'operator.env',
      'passwords.json',
      'reader.env',
      'services.env',
      'system.env',
    ];
    expect((await readdir(path)).sort()).toEqual(names);
    expect(written.map((one) => one.slice(path.length + 1)).sort()).toEqual(names);
    for (const one of written) expect((await stat(one)).mode & 0o777, one).toBe(0o600);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    const { client, services = '', reader } = await passwords();
    expect(client).toBe('$2a$10$abc');
    expect(services).toMatch(/^crp_[\w-]{32}$/);
    expect(reader).not.toBe(services);
    const text = await readFile(join(path, 'n1.conf'), 'utf8');
    const hash = (user: string) => new RegExp(`user: "${user}", password: "([^"]+)"`).exec(text)?.[1] ?? '';
    expect(await bcrypt.compare('$2a$10$abc', hash('client'))).toBe(true);
    expect(await bcrypt.compare(services, hash('services'))).toBe(true);
    // One that was chosen is hard to try out; one that is random needs no time.
    expect(['client', 'services'].map((user) => bcrypt.getRounds(hash(user)))).toEqual([10, 4]);
    expect(text).not.toContain(services);
  });

  it('are not overwritten, and are written again with the same passwords when that is wanted', async () => {
    await write();
    const before = await passwords();
    await expect(write()).rejects.toThrow(/n1\.conf exists already; to overwrite it/);
    await expect(write()).rejects.toThrow(NatsConfigError);
    await write({ CRAFT_READER_PASSWORD: 'another' }, true);
    expect(await passwords()).toEqual({ ...before, reader: 'another' });
    expect((await readdir(path)).length).toBe(8);
  });

  it('take passwords from a file that a person has written', async () => {
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'passwords.json'), '{"client":"mine"}');
    await write();
    expect((await passwords())['client']).toBe('mine');
    expect((await stat(join(path, 'passwords.json'))).mode & 0o777).toBe(0o600);
  });

  it('replace a link instead of writing to where it leads', async () => {
    await mkdir(path, { recursive: true });
    const elsewhere = join(folder.path, 'elsewhere');
    await writeFile(elsewhere, 'kept');
    await symlink(elsewhere, join(path, 'client.env'));
    await expect(write()).rejects.toThrow(/client\.env exists already/);
    await write({}, true);
    expect(await readFile(elsewhere, 'utf8')).toBe('kept');
    await expect(readlink(join(path, 'client.env'))).rejects.toThrow(/EINVAL/);
  });

  it.each([
    ['longer than bcrypt looks', { CRAFT_CLIENT_PASSWORD: 'é'.repeat(37) }, /password of client has 74 bytes/],
    ['with NUL', { CRAFT_READER_PASSWORD: 'a\0b' }, /password of reader/],
  ])('are not written for a password %s', async (_what, environment, told) => {
    await expect(write(environment)).rejects.toThrow(told);
    await expect(write(environment)).rejects.toThrow(NatsConfigError);
    await expect(readdir(path)).rejects.toThrow(/ENOENT/);
  });

  it('say that a file of passwords is none, without saying what is in it', async () => {
    await mkdir(path, { recursive: true });
    for (const text of ['{"client":"letmein"', '{"client":7,"x":"letmein"}', '["letmein"]']) {
      await writeFile(join(path, 'passwords.json'), text);
      const error: Error = await write().then(
        () => new Error('written'),
        (refused: Error) => refused,
      );
      expect(error.message).toMatch(/passwords\.json is not a JSON object of passwords by user$/);
      expect(error.cause).toBeUndefined();
    }
  });
});
