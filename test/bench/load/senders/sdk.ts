/**
 * Puts by the SDK: one client of one process, as an application has it. Ids, retries and failures
 * are the SDK's.
 */
import { CraftError, connectCraft } from '../../../../shared/client/index.js';
import type { Target, Workload } from '../protocol.js';
import { Puts } from './puts.js';
import { type Sender, TIMEOUT_MS } from './sender.js';

export async function sdkSender(target: Extract<Target, { kind: 'sdk' }>, workload: Workload): Promise<Sender> {
  const client = await connectCraft({
    servers: [...target.urls],
    cluster: target.cluster,
    timeoutMs: TIMEOUT_MS,
  });
  const puts = new Puts(workload);
  return {
    send(onOutcome) {
      const { key, value } = puts.next();
      client.kv.put(key, value).then(
        () => onOutcome(undefined),
        (error: unknown) => onOutcome(error instanceof CraftError ? error.code : String(error)),
      );
    },
    close: () => client.close(),
  };
}
