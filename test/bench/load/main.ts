/**
 * The load: a process of its own, so that it does not share an event loop with what it measures.
 * Driven by the parent over IPC (protocol.ts), one run after the other; ends with the parent.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { ClosedLoop, type Loop, OpenLoop } from './loops.js';
import type { FromLoad, Load, LoadResult, LoadRun, Target, ToLoad, Workload } from './protocol.js';
import { Recorder } from './recorder.js';
import { etcdSender } from './senders/etcd.js';
import { requestSender } from './senders/requests.js';
import { sdkSender } from './senders/sdk.js';
import type { Sender } from './senders/sender.js';

function tell(event: FromLoad): void {
  process.send?.(event);
}

function connectSender(target: Target, workload: Workload): Promise<Sender> {
  switch (target.kind) {
    case 'sdk':
      return sdkSender(target, workload);
    case 'etcd':
      return etcdSender(target, workload);
    default:
      return requestSender(target, workload);
  }
}

function startLoop(load: Load, sender: Sender, recorder: Recorder): Loop {
  if (load.kind === 'open') return new OpenLoop(sender, recorder, load.perSecond);
  const loop = new ClosedLoop(sender, recorder);
  if (load.kind === 'closed') {
    loop.setInFlight(load.inFlight);
    return loop;
  }
  const { inFlight, everySeconds } = load;
  let at = 0;
  const change = (): void => loop.setInFlight(inFlight[at++ % inFlight.length] ?? 1);
  change();
  const timer = setInterval(change, everySeconds * 1_000);
  return {
    stop() {
      clearInterval(timer);
      return loop.stop();
    },
  };
}

async function run(
  { target, workload, load, warmUpSeconds, seconds, tellGapsMs }: LoadRun,
  ended: AbortSignal,
): Promise<LoadResult> {
  const sender = await connectSender(target, workload);
  try {
    const recorder = new Recorder((gap) => {
      if (tellGapsMs !== undefined && gap.lengthMs >= tellGapsMs) tell({ event: 'gap', gap });
    });
    const loop = startLoop(load, sender, recorder);
    await delay(warmUpSeconds * 1_000);
    tell({ event: 'measuring' });
    recorder.measure();
    await delay(seconds * 1_000, undefined, { signal: ended }).catch((error: unknown) => {
      if (!ended.aborted) throw error;
    });
    recorder.endMeasure();
    tell({ event: 'measured' });
    await loop.stop();
    return recorder.result();
  } finally {
    await sender.close();
  }
}

let current: AbortController | undefined;

process.on('message', (told: ToLoad) => {
  if (told.order === 'end') {
    current?.abort();
    return;
  }
  current = new AbortController();
  run(told.run, current.signal).then(
    (result) => tell({ event: 'done', result }),
    (error: unknown) => tell({ event: 'failed', message: String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
