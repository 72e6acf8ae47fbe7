import { describe, expect, it } from 'vitest';
import { openAll } from '../../../shared/config/opened.js';

/** Opens and closes things by name, and remembers it. */
function record() {
  const events: string[] = [];
  const close = (name: string) => {
    events.push(`close ${name}`);
  };
  return { events, close };
}

describe('a start', () => {
  it('that fails closes what it has opened, last first, before it rejects', async () => {
    const { events, close } = record();
    const failing = openAll(async (opened) => {
      await opened.open('engine', close);
      await opened.open(Promise.resolve('connection'), async (name) => {
        await Promise.resolve();
        close(name);
      });
      await opened.open(Promise.reject(new Error('no port')), close);
    });
    await expect(failing).rejects.toThrow('no port');
    expect(events).toEqual(['close connection', 'close engine']);
  });

  it('says why it failed, also when something cannot be closed', async () => {
    const { events, close } = record();
    const failing = openAll(async (opened) => {
      await opened.open('engine', close);
      await opened.open('connection', () => Promise.reject(new Error('closed already')));
      throw new Error('no port');
    });
    await expect(failing).rejects.toThrow('no port');
    expect(events).toEqual(['close engine']);
  });

  it('that succeeds closes nothing', async () => {
    const { events, close } = record();
    await expect(openAll((opened) => opened.open('engine', close))).resolves.toBe('engine');
    expect(events).toEqual([]);
  });
});

describe('a start that is given up', () => {
  it('rejects at once in the middle of a step, and closes what that has opened when it is there', async () => {
    const { events, close } = record();
    const stop = new AbortController();
    let arrive: (name: string) => void = () => undefined;
    const arriving = new Promise<string>((resolve) => {
      arrive = resolve;
    });
    const starting = openAll(async (opened) => {
      await opened.open('engine', close);
      setImmediate(() => stop.abort(new Error('given up')));
      await opened.open(arriving, close);
    }, stop.signal);
    await expect(starting).rejects.toThrow('given up');
    expect(events).toEqual(['close engine']);
    arrive('connection');
    await arriving;
    await new Promise((resolve) => setImmediate(resolve));
    expect(events).toEqual(['close engine', 'close connection']);
  });

  it('begins no step any more, and swallows what becomes of the one under way', async () => {
    const stop = new AbortController();
    stop.abort(new Error('given up'));
    const starting = openAll((opened) => opened.step(Promise.reject(new Error('later'))), stop.signal);
    await expect(starting).rejects.toThrow('given up');
  });
});
