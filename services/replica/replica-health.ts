/** Reports the health of a replica, and looks at its clock. */
import { Lasting, type ServiceHealth, TROUBLE_MS, type Trouble } from '../../shared/health/health.js';
import type { ServerId } from '../../shared/raft/entry.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import { PROTOCOL, readable } from '../../shared/wire/protocol.js';
import type { QueuedCommand } from './core/effect.js';
import type { ReplicaCore } from './core/server.js';
import type { Peers } from './peers.js';
import type { LogStoreStatus } from './status.js';

/** Between two looks at the own clock (milliseconds). */
const CLOCK_LOOK_MS = 1_000;

export interface ReplicaHealthOptions {
  readonly server: ServerId;
  readonly core: Pick<ReplicaCore<QueuedCommand>, 'groups' | 'clock'>;
  readonly peers: Pick<Peers, 'refused'>;
  readonly payloadBytesMax: number;
  readonly health: ServiceHealth<'replica'>;
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
}

export class ReplicaHealth {
  private clockWatch: NodeJS.Timeout | undefined;
  private isClockWrong = false;

  constructor(private readonly options: ReplicaHealthOptions) {}

  /** What may hang, and what comes and goes. */
  start(): void {
    const { health, core, server } = this.options;
    health.watchPosition(() => core.groups.reduce((sum, group) => sum + group.commitIndex, 0));
    health.watch('clock', () => {
      if (core.clock.mayLead()) return undefined;
      const ms = core.clock.offsetUs() / 1_000;
      return { why: `the clock of ${server} is ${ms.toFixed(1)} ms off, too far to lead` };
    });
    const leaderless = new Lasting<number>(TROUBLE_MS);
    health.watch('leader', () => this.leaderTrouble(leaderless));
    health.watch('protocol', () => {
      const [peer] = this.options.peers.refused;
      if (peer === undefined) return undefined;
      const reads = readable(PROTOCOL);
      return { why: `it reads protocol ${reads}, and ${peer.server} writes ${peer.protocol}` };
    });
    this.clockWatch = setInterval(() => this.lookAtClock(), CLOCK_LOOK_MS);
    this.clockWatch.unref();
  }

  stop(): void {
    clearInterval(this.clockWatch);
  }

  onTurn(): void {
    this.options.health.turned('the core of the groups');
  }

  onStoreError(error: Error): void {
    const { health, warn } = this.options;
    warn('log store failed; this server leads nothing and acknowledges nothing until it recovers', error);
    health.report('log-store', error);
  }

  onStoreRecovered(): void {
    const { health, logger } = this.options;
    logger.info('the log store takes writes again');
    health.report('log-store', undefined);
  }

  get logStore(): LogStoreStatus {
    const { ok, since, why = '' } = this.options.health.condition('log-store');
    return ok ? { ok } : { ok, since: new Date(since).toISOString(), error: why };
  }

  /** A message of NATS carries a command of so many bytes now. */
  onCarriedBytes(bytes: number): void {
    const { health, warn, payloadBytesMax } = this.options;
    const isEnough = bytes >= payloadBytesMax;
    const why = `max_payload of the NATS server leaves ${bytes} bytes for a command, and CRAFT_PAYLOAD_BYTES_MAX is ${payloadBytesMax}. Larger commands are refused, and larger entries of the log are not replicated`;
    health.report('max-payload', isEnough ? undefined : { why });
    if (isEnough) return;
    warn(
      `max_payload of the NATS server is too small for CRAFT_PAYLOAD_BYTES_MAX. Commands of more than ${bytes} bytes are refused, and larger entries of the log are not replicated`,
      { payloadBytesMax },
    );
  }

  private leaderTrouble(leaderless: Lasting<number>): Trouble | undefined {
    const { core, server } = this.options;
    const isMember = ({ configuration: { voters, learners } }: (typeof core.groups)[number]) =>
      voters.includes(server) || learners.includes(server);
    const { lasting, forMs } = leaderless.see(
      core.groups.flatMap((group, id) => (group.leader === null && isMember(group) ? [id] : [])),
    );
    if (lasting.length === 0) return undefined;
    const groups = lasting.length === 1 ? `group ${lasting[0]} has` : `groups ${lasting.join(', ')} have`;
    return { why: `${groups} no leader that ${server} knows of: no quorum of voters is heard`, forMs };
  }

  /** A wrong clock is told of here: a follower that never stands for election would not show it. */
  private lookAtClock(): void {
    const { core, logger } = this.options;
    if (core.clock.mayLead() !== this.isClockWrong) return;
    this.isClockWrong = !this.isClockWrong;
    const offsetUs = Math.round(core.clock.offsetUs());
    if (this.isClockWrong)
      logger.error({ offsetUs }, 'the clock of this server is too far off: it leads nothing until that is right');
    else logger.info({ offsetUs }, 'the clock of this server is right again: it may lead');
  }
}
