/** What `craft doctor` finds of settings, and whether they are those of the cluster. */
import { describe, expect, it } from 'vitest';
import { LOCAL_SETTINGS } from '../../../../deploy/local/local-config.js';
import { CONFIGURATION_CHECKS } from '../../../../services/cli/doctor/configuration.js';
import { examine } from '../../../../services/cli/doctor/examine.js';
import type { Facts } from '../../../../services/cli/doctor/facts.js';
import { nearest } from '../../../../services/cli/doctor/nearest.js';
import { SETTING_NAMES, settingsConflict, unknownSettings } from '../../../../services/cli/doctor/settings.js';
import { database, environment, HEALTHY, known, NOW_MS, s1, s2, s3, servers, snapshot, value } from './facts.js';
import { itFinds } from './sightings.js';

itFinds(CONFIGURATION_CHECKS, [
  ['unknown-setting', environment({ CRAFT_SEVER: 's1' }), /^CRAFT_SEVER: .*rename it to CRAFT_SERVER$/],
  ['unknown-setting', environment({ CRAFT_QUITE_ANOTHER_THING: '' }), /remove it, or see deploy\/README/],
  ['wrong-setting', environment({ CRAFT_HEARTBEAT_MS: '-1' }), /^CRAFT_HEARTBEAT_MS: .*>=1; correct it/],
  ['settings-conflict', environment({ CRAFT_HEARTBEAT_MS: '900' }), /three times CRAFT_HEARTBEAT_MS/],
  ['settings-conflict', environment({ CRAFT_SERVERS: '' }), /CRAFT_SERVERS is not set, and CRAFT_SERVER is/],
  [
    'setting-without-effect',
    environment({ CRAFT_NATS_CREDS: 'a', CRAFT_NATS_TOKEN: 'b' }),
    /^CRAFT_NATS_TOKEN: CRAFT_NATS_CREDS is set, and wins/,
  ],
  ['setting-without-effect', environment({ CRAFT_METRICS_ADDRESS: '0.0.0.0' }), /set CRAFT_METRICS_PORT, too/],
  ['setting-without-effect', environment({ CRAFT_TEST_CLOCK_OFFSET_MS: '5' }), /for tests only; unset it/],
  [
    'setting-without-effect',
    environment({ CRAFT_NATS_MONITOR_URL: 'http://n1:8222' }),
    /set CRAFT_LOG_STORE=jetstream/,
  ],
  [
    'unreadable-file',
    { unreadableFiles: [{ variable: 'CRAFT_NATS_CREDS', path: '/x', why: 'there is no such file' }] },
    /^CRAFT_NATS_CREDS: \/x cannot be read: there is no such file; correct/,
  ],
  [
    'environment-differs',
    environment({ CRAFT_GROUPS: '4' }),
    /^CRAFT_GROUPS: it is 4, and the cluster has 3 groups; set it to 3/,
  ],
  [
    'environment-differs',
    { ...environment({ CRAFT_SERVER: 's9', CRAFT_SERVERS: 's9' }), ...database({ state: known(undefined) }) },
    /^CRAFT_SERVER: s9 is no member .*craft members add s9/,
  ],
  [
    'servers-differ',
    servers(s1, s2, { ...s3, cluster: 'Craft' }),
    /^s3: it belongs to the cluster Craft, not to craft; start it/,
  ],
  [
    'servers-differ',
    { ...servers(s1, s2, { ...s3, groups: [...s3.groups, ...s3.groups.slice(2)] }) },
    /^CRAFT_GROUPS: the servers disagree: s1, s2 have 3; s3 has 4; start/,
  ],
]);

it('the checks take no settings for those of the servers, in an environment that is of none', () => {
  const client = {
    ...HEALTHY,
    ...value('nats', { payloadBytesMax: 300_000, nodesMax: 1 }),
    snapshots: known({ snapshots: [snapshot('2026-01-01T01:00:00Z')], nowMs: NOW_MS }),
  };
  const codesOf = (environment: Facts['environment']) => examine({ ...client, environment }).map(({ code }) => code);
  expect(codesOf({})).toEqual([]);
  expect(codesOf({ CRAFT_PAYLOAD_BYTES_MAX: '1000000' })).toEqual(['max-payload']);
  expect(codesOf({ CRAFT_SNAPSHOT_AGE_MS: '3600000' })).toEqual(['snapshot-late']);
  expect(codesOf(HEALTHY.environment)).toEqual(['max-payload', 'replicas-impossible', 'snapshot-late']);
});

describe('settings', () => {
  it('that something reads are known: of services, of the command line, of npm start', () => {
    const local = Object.keys(LOCAL_SETTINGS).filter((name) => name.startsWith('CRAFT_'));
    expect(local.filter((name) => !SETTING_NAMES.includes(name))).toEqual([]);
    expect(unknownSettings({ CRAFT_CONTEXT: 'x', CRAFT_WEB_SHOP_PASSWORD: 'y', OTHER: 'z' })).toEqual([]);
  });

  it('of an operator need no server; two that belong together are told', () => {
    expect(settingsConflict({ CRAFT_CLUSTER: 'bank' })).toBeUndefined();
    expect(settingsConflict({ CRAFT_NATS_TLS_CERT: 'x' })).toMatch(/CRAFT_NATS_TLS_CERT and CRAFT_NATS_TLS_KEY/);
  });

  it('that are mistyped are recognised', () => {
    expect(nearest('CRAFT_NATS_ULR', SETTING_NAMES)).toBe('CRAFT_NATS_URL');
    expect(nearest('CRAFT_SNAPSHOTS_ENTRIES', SETTING_NAMES)).toBe('CRAFT_SNAPSHOT_ENTRIES');
    expect(nearest('CRAFT_', SETTING_NAMES)).toBeUndefined();
  });
});
