/**
 * Does the effects of the applier core that clients, servers and operators see: answers, messages,
 * logs, spans and metrics. The engine, the stream and the snapshots are the executor's.
 */
import { ConnectionError, type NatsConnection } from '@nats-io/nats-core';
import {
  type EngineBatch,
  type EnginePosition,
  indexesOf,
  type MergedCommand,
  type OnDatabaseCall,
  type TableChecksum,
} from '../../shared/engine/port.js';
import { encodeVerify } from '../../shared/engine/verify.js';
import type { ServiceHealth } from '../../shared/health/health.js';
import type { AppliedMark } from '../../shared/link/applied-mark.js';
import type { WindowAnswer } from '../../shared/merge/window.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import { spanTimeUs } from '../../shared/telemetry/time.js';
import { type Answers, answersOver } from '../../shared/wire/answers.js';
import type { MachineInput, VersionNotice } from '../../shared/wire/machine.js';
import type { Subjects } from '../../shared/wire/subjects.js';
import { answer } from './answers.js';
import type { AppliedPositions } from './applied.js';
import type { ApplierHealth } from './applier-health.js';
import type { ApplierCore } from './core/applier.js';
import { batchFailure, type EffectOf } from './engine-worker.js';
import type { Outside } from './executor.js';
import type { ApplierMetrics } from './metrics.js';
import type { ApplierTracing } from './tracing.js';

/** Hears of every committed batch; times in microseconds since the Unix epoch. */
export type OnApplied = (commands: readonly MergedCommand[], startUs: number, endUs: number) => void;

export interface EffectsOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly server: string;
  /** Name of the state machine. */
  readonly machine: string;
  readonly core: Pick<ApplierCore, 'version' | 'appliedIndex'>;
  readonly positions: AppliedPositions;
  readonly counts: ApplierMetrics;
  /** Undefined while tracing is off. */
  readonly spans: ApplierTracing | undefined;
  readonly applierHealth: ApplierHealth;
  readonly health: ServiceHealth<'applier'>;
  /** To a replica in this process. */
  readonly applied: AppliedMark | undefined;
  readonly onCommitted: OnApplied | undefined;
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
  /** The service stops: what cannot be sent from then on is no trouble. */
  readonly signal: AbortSignal;
  /** The service cannot go on. */
  readonly onFatal: (error: Error) => void;
}

export class Effects implements Outside {
  readonly startUs = spanTimeUs;
  readonly onFatal: (error: Error) => void;
  private readonly answers: Answers;

  constructor(private readonly options: EffectsOptions) {
    this.onFatal = options.onFatal;
    this.answers = answersOver(options.connection);
  }

  tell(effect: Parameters<Outside['tell']>[0]): void {
    const { subjects, server, positions, counts, applierHealth, health, logger } = this.options;
    switch (effect.type) {
      case 'moved':
        positions.reset(indexesOf(effect.position.positions));
        counts.onMoved();
        return;
      case 'answer':
        this.answer(effect);
        return;
      case 'tell':
        this.publish(subjects.checkpoint(), JSON.stringify(effect.message));
        return;
      case 'ask-verify':
        this.publish(subjects.verify(), encodeVerify(effect.save ? { snapshotBy: server } : {}));
        return;
      case 'ask-snapshot':
        this.publish(subjects.admin('snapshot'), '');
        return;
      case 'restart-log':
        this.publish(subjects.restartLog(server), '');
        return;
      case 'refusal':
        applierHealth.refused(effect.reason);
        return;
      case 'trouble':
        applierHealth.failed(effect.error);
        if (effect.batch === null) {
          this.options.warn('the state cannot go on', effect.error);
          return;
        }
        counts.retries.add();
        this.options.spans?.failed(effect.error);
        this.options.warn('a batch failed; trying again', batchFailure(effect.batch, effect.error));
        return;
      case 'recovered':
        applierHealth.recovered();
        // Under a steady load the applier does not look at the stream, so no look reports that it
        // can be read again.
        health.report('stream', undefined);
        return;
      case 'waiting':
        applierHealth.waits(effect.reason);
        if (effect.reason === undefined) logger.info('the version that the state waited for is loaded: it goes on');
        else logger.error(effect.reason);
        return;
      case 'version':
        this.tellVersion();
        logger.info({ version: effect.version }, 'this version of the state machine is in force');
        return;
      case 'ask-machine': {
        const input: MachineInput = { name: this.options.machine, version: effect.version, initial: true };
        this.publish(subjects.machine(), JSON.stringify(input));
        return;
      }
      case 'differs':
        counts.onDifference(effect.isOwn);
        if (effect.isOwn) logger.fatal(`nothing is read from this state any more: ${effect.message}`);
        else logger.error(effect.message);
    }
  }

  warn(text: string, error: unknown): void {
    this.options.warn(text, error);
  }

  onTurn(): void {
    this.options.health.turned('the core of the applier');
  }

  onArrived(found: WindowAnswer): void {
    this.options.counts.onArrived(found);
    this.options.spans?.arrived(found);
  }

  onApply(batch: EngineBatch): OnDatabaseCall | undefined {
    return this.options.spans?.begins(batch);
  }

  onApplied({ commands }: EffectOf<'answer'>, startUs: number): void {
    const { spans, positions, applied, counts, onCommitted } = this.options;
    spans?.committed();
    const endUs = spanTimeUs();
    for (const { group, index } of commands) positions.applied(group, index);
    positions.settle();
    applied?.advanced();
    counts.onApplied(commands, (endUs - startUs) / 1e6);
    onCommitted?.(commands, startUs, endUs);
  }

  onVerified(at: EnginePosition, tables: readonly TableChecksum[]): void {
    this.options.applierHealth.onVerified(at, tables);
  }

  onInstallFailed(): void {
    this.options.counts.onInstallFailed();
  }

  onInstalled(snapshot: string, { mergedIndex }: EnginePosition): void {
    this.options.counts.installs.add();
    this.options.logger.info({ snapshot, mergedIndex }, 'a snapshot is installed');
  }

  onRestored({ restoring }: EffectOf<'apply'>): void {
    this.options.logger.warn({ ...restoring }, 'the state is now that of a file');
  }

  /** To the replica of this server, which lets in what this version takes. */
  tellVersion(): void {
    const { version, appliedIndex: mergedIndex } = this.options.core;
    const notice: VersionNotice = { version, mergedIndex };
    this.publish(this.options.subjects.version(this.options.server), JSON.stringify(notice));
  }

  private publish(subject: string, data: string | Uint8Array): void {
    try {
      this.options.connection.publish(subject, data);
    } catch (error) {
      // On its way out: there is no server to tell.
      if (!(error instanceof ConnectionError)) this.options.warn('a message could not be published', error);
    }
  }

  private answer({ commands, done, isTrusted }: EffectOf<'answer'>): void {
    const { subjects, server, counts, spans, signal, warn } = this.options;
    const { applied } = done;
    try {
      answer(this.answers, subjects, server, commands, applied, isTrusted, (error) =>
        warn('an answer could not be sent', error),
      );
    } catch (error) {
      // The clients ask again, with the same ids.
      if (!signal.aborted) warn('answers could not be sent', error);
    }
    counts.onAnswered(commands, applied);
    spans?.answered(commands, done, isTrusted);
  }
}
