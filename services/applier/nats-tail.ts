/**
 * The end of the merged log for an applier whose merger is another process: what goes to the stream
 * is heard on its subject, too. A message that is lost, or that the stream has refused, does no
 * harm: there is a hole, and the stream is read.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import { DirectMergedLog, type MergedLogTail } from '../../shared/link/merged-log.js';
import type { WarnOccasionally } from '../../shared/telemetry/log.js';
import { decodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { WireError } from '../../shared/wire/wire-error.js';

/** Listens to `subject`, the one of the log's stream. */
export function natsTail(connection: NatsConnection, subject: string, warn: WarnOccasionally): MergedLogTail {
  const log = new DirectMergedLog();
  const subscription = connection.subscribe(subject, {
    callback: (error, message) => {
      if (error !== null) {
        warn('the merged log cannot be heard', error);
        return;
      }
      try {
        log.push(decodeMergedBatch(message.data));
      } catch (reason) {
        if (!(reason instanceof WireError)) throw reason;
        warn('a message on the subject of the merged log is no merged batch', reason.message);
      }
    },
  });
  return {
    next: (wanted, answer) => log.next(wanted, answer),
    get end() {
      return log.end;
    },
    close: () => {
      log.close();
      subscription.unsubscribe();
    },
  };
}
