/**
 * Three sites far apart: what a client at each site waits for, beside what the delays allow.
 *
 *     npm run bench:sites                                   three groups and one, a supercluster; some minutes
 *     npm run bench:sites -- --quick
 *     npm run bench:sites -- --topology stretched --groups 3 --delays 15,40,60
 *
 * See README.md of the folder above.
 */
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { connect } from 'nats';
import { LocalCluster } from '../../../deploy/local/cluster.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import { listOf, positive, positiveInteger } from '../options.js';
import { machine, versions } from '../report/about.js';
import { save } from '../report/save.js';
import { align } from '../report/table.js';
import { leadersOf, untilHome } from '../systems/leaders.js';
import { Stage } from '../systems/stage.js';
import { type Absence, cutOff } from './cut-off.js';
import { described, summaryOf } from './lateness.js';
import { Lines } from './lines.js';
import { KINDS, type Kind, type Measured, measure, type Site } from './measure.js';
import { startNatsSites, type Topology } from './nats-sites.js';
import { sitesPicture } from './picture.js';
import { boundsOf, type Profile, profileOf } from './profiles.js';
import type { SitesResult } from './result.js';
import { absenceTable, type Row, sitesTable } from './table.js';

interface Options {
  readonly quick?: boolean;
  readonly delays: readonly number[];
  readonly jitter: number;
  readonly topology: Topology;
  readonly groups: readonly number[];
  readonly inFlight: readonly number[];
  readonly kinds: readonly Kind[];
  readonly ownServer: boolean;
  readonly clocks: readonly number[];
  readonly seconds?: number;
  readonly cutSeconds?: number;
  readonly save?: boolean;
}

const WAIT_MS_MAX = 120_000;
const PREFIX = 'bench_sites_';

function kind(text: string): Kind {
  const found = KINDS.find((one) => one === text);
  if (found === undefined) throw new Error(`no kind ${text}: there are ${KINDS}`);
  return found;
}

function parseOptions(): Options {
  return new Command('bench:sites')
    .option('--quick', 'three groups only, one request in flight, short; the result is not saved')
    .option('--delays <list>', 'one way, milliseconds: 1-2, 1-3, 2-3 (, 1-4, 2-4, 3-4 …)', listOf(Number), [15, 40, 60])
    .option('--jitter <ms>', 'at most so much more', Number, 1)
    .addOption(
      new Option('--topology <how>', 'how the NATS servers of the sites are joined')
        .choices(['supercluster', 'stretched'])
        .default('supercluster'),
    )
    .option('--groups <list>', 'numbers of groups, in turn', listOf(positiveInteger), [3, 1])
    .option('--in-flight <list>', 'requests in flight at each site', listOf(positiveInteger), [1, 64])
    .option('--kinds <list>', `of ${KINDS.join(', ')}`, listOf(kind), [...KINDS])
    .option('--own-server', 'clients name the server of their site (it must lead a group to take commands)', false)
    .option('--clocks <list>', 'how far the clock of each site is ahead (milliseconds)', listOf(Number), [0])
    .option('--seconds <n>', 'measured seconds of each figure (default 10)', positive)
    .option('--cut-seconds <n>', 'how long the last site is cut off at the end (default 30; 0: not at all)', Number)
    .option('--no-save', 'do not save the result')
    .parse()
    .opts<Options>();
}

interface Run {
  readonly rows: readonly Row[];
  readonly absence: Absence | undefined;
}

/** Of each site; those that are not given are right. */
function clocksOf({ delayMs }: Profile, { clocks }: Options): number[] {
  return delayMs.map((_, at) => clocks[at] ?? 0);
}

async function run(groups: number, profile: Profile, options: Options, stage: Stage, lines: Lines): Promise<Run> {
  const { quick = false, jitter, topology, kinds, seconds = quick ? 4 : 10 } = options;
  const folder = await stage.nextTurn();
  const servers = profile.delayMs.map((_, at) => `s${at + 1}`);
  const clocksMs = clocksOf(profile, options);
  await stage.createDatabases(servers.map((server) => `${PREFIX}${server}`));
  const nats = await startNatsSites(folder, profile, jitter, topology, lines);
  const cluster = new LocalCluster({
    dataDir: join(folder, 'craft'),
    servers,
    groups,
    natsUrl: nats.urls[0] ?? '',
    databaseUrl: stage.databaseUrl,
    databasePrefix: PREFIX,
    environment: { CRAFT_LOG_LEVEL: 'warn' },
    environmentOf: (server) => {
      const at = servers.indexOf(server);
      return {
        CRAFT_NATS_URL: nats.urls[at],
        // In a supercluster a stream lies at the site of its server anyway.
        ...(topology === 'stretched' && { CRAFT_NATS_STREAM_TAGS: `node:site${at + 1}` }),
        ...(clocksMs[at] !== 0 && { CRAFT_TEST_CLOCK_OFFSET_MS: String(clocksMs[at]) }),
      };
    },
  });
  const sites: Site[] = [];
  try {
    await cluster.start();
    await cluster.waitReady({ timeoutMs: WAIT_MS_MAX });
    for (const [at, server] of servers.entries()) {
      const connection = await connect({ servers: nats.urls[at] ?? '', name: `bench site ${at + 1}` });
      sites.push({ name: `site${at + 1}`, server, connection, asksOwnServer: options.ownServer });
    }
    const subjects = new Subjects(cluster.cluster);
    // Between far sites that takes a while.
    await untilHome(cluster, WAIT_MS_MAX);
    await measure('applied', subjects, sites, { inFlight: 4, seconds: quick ? 2 : 10, warmUpSeconds: 0 });
    const rows: Row[] = [];
    for (const inFlight of quick ? [1] : options.inFlight) {
      for (const kind of kinds) {
        // What was before does not count.
        await lines.lateness();
        const measured = await measure(kind, subjects, sites, { inFlight, seconds, warmUpSeconds: 1 });
        const lateness = await lines.lateness();
        const leaders = await leadersOf(cluster);
        const bounds = servers.map((_, site) => boundsOf(profile, leaders, site)[kind]);
        rows.push({ groups, kind, inFlight, leaders, sites: measured, boundsMs: bounds, lateness });
        const late = `lines late by ${lateness.p50} / ${lateness.p99} ms`;
        console.log(`${groups} groups, ${inFlight} in flight, ${kind}: p50 ${p50s(measured)} ms; ${late} (p50 / p99)`);
      }
    }
    const cutSeconds = options.cutSeconds ?? (quick ? 0 : 30);
    const absence =
      cutSeconds === 0
        ? undefined
        : await cutOff({ groups, subjects, sites, lines, seconds: cutSeconds, waitMs: WAIT_MS_MAX });
    return { rows, absence };
  } finally {
    await Promise.all(sites.map(({ connection }) => connection.close()));
    await cluster.stop();
    await nats.stop();
    await stage.dropDatabases(servers.map((server) => `${PREFIX}${server}`));
  }
}

function p50s(measured: readonly Measured[]): string {
  return measured.map(({ p50 }) => p50).join(' / ');
}

async function main(options: Options): Promise<void> {
  const fewest = Math.min(...(options.quick ? [3] : options.groups));
  const sites = profileOf('', options.delays).delayMs.length;
  if (options.ownServer && fewest < sites) throw new Error(`--own-server needs a group for each of the ${sites} sites`);
  const profile = profileOf(options.delays.join(','), options.delays);
  const stage = await Stage.start({ layout: 'server', craftNats: 3 });
  const rows: Row[] = [];
  const absences: Absence[] = [];
  try {
    for (const groups of options.quick ? [3] : options.groups) {
      const lines = await Lines.start();
      try {
        const done = await run(groups, profile, options, stage, lines);
        rows.push(...done.rows);
        if (done.absence !== undefined) absences.push(done.absence);
        console.log(`${groups} groups: ${described(summaryOf(done.rows.map((row) => row.lateness)))}`);
      } finally {
        await lines.stop();
      }
    }
    console.log(`\n${align(sitesTable(rows))}`);
    if (absences.length > 0) console.log(`\n${align(absenceTable(absences))}`);
    const lateness = summaryOf(rows.map((row) => row.lateness));
    console.log(`\nOver all figures ${described(lateness)}.`);
    if (options.quick || options.save === false) return;
    const about = { postgres: await stage.postgresVersion() };
    const result: SitesResult = {
      date: new Date().toISOString(),
      versions: await versions(about),
      machine: machine(),
      profile,
      jitterMs: options.jitter,
      topology: options.topology,
      ownServer: options.ownServer,
      clocksMs: clocksOf(profile, options),
      rows,
      absences,
      lateness,
    };
    console.log(`saved: ${await save(`sites-${options.topology}-`, result, sitesPicture(result))}.json and .svg`);
  } finally {
    await stage.stop();
  }
}

await main(parseOptions());
