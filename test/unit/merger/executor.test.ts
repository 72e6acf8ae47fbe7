/** The end of one merger core, as its owner sees it. */
import { expect, it } from 'vitest';
import { MergerCore } from '../../../services/merger/core.js';
import { Executor } from '../../../services/merger/executor.js';
import { mergeStart } from '../../../shared/merge/merge.js';

it('says that its core has ended, with the reason', async () => {
  const never = new Promise<never>(() => undefined);
  const executor = new Executor(new MergerCore(mergeStart(2)), {
    feed: { poll: () => never },
    emit: () => undefined,
    store: () => never,
    requireWhole: () => never,
    locate: () => never,
    warn: () => undefined,
    onFeed: () => undefined,
    onStep: () => undefined,
  });
  expect(executor.hasEnded).toBe(false);
  executor.end(new Error('the stream is not what was written'));
  expect(executor.hasEnded).toBe(true);
  await expect(executor.ended).rejects.toThrow('the stream is not what was written');
});
