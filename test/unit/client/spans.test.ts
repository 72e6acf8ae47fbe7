/** The caller's trace. */
import { type Context, type ContextManager, context, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { BasicTracerProvider, type Span } from '@opentelemetry/sdk-trace-base';
import { expect, it } from 'vitest';
import { applied, refused, ScriptedServices } from './scripted.js';

const services = new ScriptedServices();

it('passes on the active trace context', async () => {
  const active = trace.setSpanContext(ROOT_CONTEXT, {
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    spanId: '00f067aa0ba902b7',
    traceFlags: 1,
  });
  context.setGlobalContextManager(new FixedContext(active));
  const end = await services.respond('craft.batch', [applied(1, 1)]);
  try {
    await services.client.command('kv.put', {});
  } finally {
    context.disable();
  }
  await services.client.command('kv.put', {});
  expect(services.seen.map(({ traceparent }) => traceparent)).toEqual([
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    '',
  ]);
  await end();
});

it("tells of retries in the caller's span, while that is recorded", async () => {
  const tracer = new BasicTracerProvider().getTracer('test');
  const span = tracer.startSpan('caller') as Span;
  context.setGlobalContextManager(new FixedContext(trace.setSpan(ROOT_CONTEXT, span)));
  try {
    for (const isRecorded of [true, false]) {
      const end = await services.respond('craft.batch', [refused('OVERLOADED'), 'silence', applied(1, 1)]);
      await services.client.command('kv.put', {});
      await end();
      if (isRecorded) span.end();
    }
  } finally {
    context.disable();
  }
  expect(span.events.map(({ name, attributes }) => [name, attributes?.['error.type']])).toEqual([
    ['craft.retry', 'OVERLOADED'],
    ['craft.retry', 'timeout'],
  ]);
});

/** Says that one context is always active. */
class FixedContext implements ContextManager {
  constructor(private readonly fixed: Context) {}
  active(): Context {
    return this.fixed;
  }
  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    _context: Context,
    fn: F,
    self?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return fn.call(self, ...args);
  }
  bind<T>(_context: Context, target: T): T {
    return target;
  }
  enable(): this {
    return this;
  }
  disable(): this {
    return this;
  }
}
