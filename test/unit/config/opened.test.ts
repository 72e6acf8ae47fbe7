import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CLOSE_MS_MAX, NotClosedError, Opened, openAll } from '../../../shared/config/opened.js';

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
      await opened.open('engine', 'engine', close);
      await opened.open('connection', Promise.resolve('connection'), async (name) => {
        await Promise.resolve();
        close(name);
      });
      await opened.open('metrics', Promise.reject(new Error('no port')), close);
    });
    await expect(failing).rejects.toThrow('no port');
    expect(events).toEqual(['close connection', 'close engine']);
  });

  it('says why it failed, also when something cannot be closed', async () => {
    const { events, close } = record();
    const failing = openAll(async (opened) => {
      await opened.open('engine', 'engine', close);
      await opened.open('connection', 'connection', () => Promise.reject(new Error('closed already')));
      throw new Error('no port');
    });
    await expect(failing).rejects.toThrow('no port');
    expect(events).toEqual(['close engine']);
  });

  it('that succeeds closes nothing', async () => {
    const { events, close } = record();
    await expect(openAll((opened) => opened.open('engine', 'engine', close))).resolves.toBe('engine');
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
    const starting = openAll(
      async (opened) => {
        await opened.open('engine', 'engine', close);
        setImmediate(() => stop.abort(new Error('given up')));
        await opened.open('connection', arriving, close);
      },
      { signal: stop.signal },
    );
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
    const starting = openAll((opened) => opened.step(Promise.reject(new Error('later'))), { signal: stop.signal });
    await expect(starting).rejects.toThrow('given up');
  });
});

describe('a stop', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Three things are open; the second one to be closed is as given. */
  async function stopWith(closeConnection: () => unknown, isExclusive = true) {
    const { events, close } = record();
    const opened = new Opened({ onUnfinished: (text) => events.push(text) });
    await opened.open('engine', 'engine', close);
    await opened.open('connection', 'connection', closeConnection, { isExclusive });
    opened.own('service', () => close('service'));
    return { opened, events };
  }

  it('leaves what hangs after its deadline, says so, and closes the rest', async () => {
    const { opened, events } = await stopWith(() => new Promise(() => undefined));
    const stopping = opened.close();
    const refused = expect(stopping).rejects.toThrow(new NotClosedError(['connection']));
    await vi.advanceTimersByTimeAsync(CLOSE_MS_MAX - 1);
    expect(events).toEqual(['close service']);
    await vi.advanceTimersByTimeAsync(1);
    await refused;
    expect(events).toEqual(['close service', 'closing connection: not within 2 s', 'close engine']);
  });

  it('says what cannot be closed, and closes the rest', async () => {
    const { opened, events } = await stopWith(() => {
      throw new Error('gone');
    });
    await expect(opened.close()).rejects.toThrow('not closed: connection');
    expect(events).toEqual(['close service', 'closing connection: gone', 'close engine']);
  });

  it('has not failed when only something is open that keeps nothing from being opened again', async () => {
    const { opened, events } = await stopWith(() => Promise.reject(new Error('gone')), false);
    await opened.close();
    expect(events).toEqual(['close service', 'closing connection: gone', 'close engine']);
  });

  it('that is asked for twice ends once, for both', async () => {
    let closed: () => void = () => undefined;
    const { opened, events } = await stopWith(() => new Promise<void>((resolve) => (closed = resolve)));
    const both = Promise.all([opened.close(), opened.close()]);
    await vi.advanceTimersByTimeAsync(1);
    expect(events).toEqual(['close service']);
    closed();
    await both;
    expect(events).toEqual(['close service', 'close engine']);
  });

  it('waits for a step until its deadline, and goes on then', async () => {
    const { opened, events } = await stopWith(() => undefined);
    const finishing = opened.finish('the write', 700, () => new Promise(() => undefined));
    await vi.advanceTimersByTimeAsync(700);
    await expect(finishing).resolves.toBe(false);
    expect(events).toEqual(['the write: not within 0.7 s']);
    await expect(opened.finish('the write', 700, () => Promise.resolve())).resolves.toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });
});

it('a second stop waits for the same as the first one', async () => {
  const opened = new Opened();
  const events: string[] = [];
  let close: () => void = () => undefined;
  opened.own('the database', () => new Promise<void>((resolve) => (close = resolve)));
  const stop = () =>
    opened.stop(async () => {
      events.push('stopping');
      await opened.close();
      events.push('closed');
    });
  const [first, second] = [stop(), stop()];
  void second.then(() => events.push('second'));
  await Promise.resolve();
  expect(events).toEqual(['stopping']);
  close();
  await Promise.all([first, second]);
  expect(events).toEqual(['stopping', 'closed', 'second']);
});

it('a start that fails, and leaves something exclusive open, says both', async () => {
  const failing = openAll(async (opened) => {
    const close = () => Promise.reject(new Error('disk'));
    await opened.open('the log store', 'store', close, { isExclusive: true });
    throw new Error('no port');
  });
  await expect(failing).rejects.toMatchObject({
    code: 'NOT_CLOSED',
    message: 'not closed: the log store',
    cause: { message: 'no port' },
  });
});

it('a start that fails does not wait for ever for what hangs when it is closed', async () => {
  vi.useFakeTimers();
  try {
    const failing = openAll(async (opened) => {
      await opened.open('connection', 'connection', () => new Promise(() => undefined));
      throw new Error('no port');
    });
    const refused = expect(failing).rejects.toThrow('no port');
    await vi.advanceTimersByTimeAsync(CLOSE_MS_MAX);
    await refused;
  } finally {
    vi.useRealTimers();
  }
});
