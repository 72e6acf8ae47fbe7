import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { applierConfig, ConfigError, commonConfig, replicaConfig } from '../../../shared/config/config.js';
import { VERSION } from '../../../shared/config/version.js';

const minimal = { CRAFT_SERVER: 's1', CRAFT_SERVERS: 's1,s2,s3' };

describe('configuration', () => {
  it('has defaults that run', () => {
    expect(replicaConfig(minimal)).toMatchObject({ cluster: 'craft', groups: 3, servers: ['s1', 's2', 's3'] });
  });

  it.each([
    [{ CRAFT_SERVER: 's9' }, /CRAFT_SERVER: s9 is not one of/],
    [{ CRAFT_SERVERS: 's1,s1' }, /CRAFT_SERVERS/],
    [{ CRAFT_CLUSTER: 'a.b' }, /CRAFT_CLUSTER/],
    [{ CRAFT_GROUPS: '0' }, /CRAFT_GROUPS/],
    [{ CRAFT_GROUPS: 'three' }, /CRAFT_GROUPS/],
  ])('names the variable that is wrong: %o', (wrong, message) => {
    expect(() => commonConfig({ ...minimal, ...wrong })).toThrow(message);
    expect(() => commonConfig({ ...minimal, ...wrong })).toThrow(ConfigError);
  });

  it('refuses an election timeout that heartbeats cannot keep', () => {
    const wrong = { ...minimal, CRAFT_ELECTION_TIMEOUT_MS: '200', CRAFT_HEARTBEAT_MS: '100' };
    expect(() => replicaConfig(wrong)).toThrow(/three times/);
  });

  it('keeps the logs in segment files unless told otherwise', () => {
    expect(replicaConfig(minimal)).toMatchObject({ logStore: 'segments', logStoreSync: 'verify', natsMonitorUrls: [] });
    const CRAFT_NATS_MONITOR_URL = 'http://127.0.0.1:8222, http://10.0.0.2:8222';
    const other = replicaConfig({ ...minimal, CRAFT_LOG_STORE: 'jetstream', CRAFT_NATS_MONITOR_URL });
    expect(other.logStore).toBe('jetstream');
    expect(other.natsMonitorUrls).toEqual(['http://127.0.0.1:8222', 'http://10.0.0.2:8222']);
    expect(() => replicaConfig({ ...minimal, CRAFT_LOG_STORE: 'level' })).toThrow(/CRAFT_LOG_STORE/);
    expect(() => replicaConfig({ ...minimal, CRAFT_NATS_MONITOR_URL: 'here' })).toThrow(/CRAFT_NATS_MONITOR_URL/);
  });

  it('takes NATS servers in any order unless told otherwise', () => {
    expect(commonConfig(minimal).natsOrder).toBe('random');
    expect(commonConfig({ ...minimal, CRAFT_NATS_ORDER: 'listed' }).natsOrder).toBe('listed');
    expect(() => commonConfig({ ...minimal, CRAFT_NATS_ORDER: 'nearest' })).toThrow(/CRAFT_NATS_ORDER/);
  });

  it('has inboxes of the default prefix unless told otherwise, and none that is a subject of the cluster', () => {
    expect(commonConfig(minimal).natsInboxPrefix).toBe('_INBOX');
    expect(commonConfig({ ...minimal, CRAFT_NATS_INBOX_PREFIX: '_INBOX_a.b' }).natsInboxPrefix).toBe('_INBOX_a.b');
    for (const wrong of ['craft', 'craft.inbox', '$JS', 'a.*', 'a b']) {
      const act = () => commonConfig({ ...minimal, CRAFT_NATS_INBOX_PREFIX: wrong });
      expect(act, wrong).toThrow(/CRAFT_NATS_INBOX_PREFIX/);
    }
  });

  it('wants a database for the applier', () => {
    expect(() => applierConfig(minimal)).toThrow(/CRAFT_DATABASE_URL/);
    for (const wrong of [
      'ann:secret@host/db',
      'http://ann:secret@host',
      'postgres://ann:secret@h:99999/x',
      'postgres://ann:secret@[::z]',
    ]) {
      const act = () => applierConfig({ ...minimal, CRAFT_DATABASE_URL: wrong });
      expect(act).toThrow(/CRAFT_DATABASE_URL: is not an address like postgres:/);
      expect(act, 'no secret').not.toThrow(/secret/);
    }
    for (const right of [
      'postgres://u:p@h/db',
      'postgresql://h1:1,h2:2/db?sslmode=require',
      'postgres:///db?host=/run',
    ]) {
      expect(applierConfig({ ...minimal, CRAFT_DATABASE_URL: right }).databaseUrl).toBe(right);
    }
  });

  it('knows the version of the package', () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
    expect(VERSION).toBe(version);
  });
});
