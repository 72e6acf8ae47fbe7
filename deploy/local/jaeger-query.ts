/** Reading one trace back from Jaeger. */
import { z } from 'zod';
import type { TraceSpan } from './trace-tree.js';

const tags = z.array(z.object({ key: z.string(), value: z.union([z.string(), z.number(), z.boolean()]) }));
const reply = z.object({
  data: z
    .array(
      z.object({
        spans: z.array(
          z.object({
            traceID: z.string(),
            spanID: z.string(),
            operationName: z.string(),
            references: z.array(z.object({ refType: z.string(), spanID: z.string() })).nullish(),
            /** Microseconds, both. */
            startTime: z.number(),
            duration: z.number(),
            processID: z.string(),
            tags: tags.nullish(),
          }),
        ),
        processes: z.record(z.string(), z.object({ serviceName: z.string(), tags: tags.nullish() })),
      }),
    )
    .nullish(),
});

/**
 * The spans of a trace that have arrived so far; none when Jaeger does not know it (yet). `url`:
 * where its pages are.
 */
export async function traceFromJaeger(url: string, traceId: string): Promise<TraceSpan[]> {
  const response = await fetch(`${url}/api/traces/${traceId}`, { signal: AbortSignal.timeout(5_000) });
  const { data } = reply.parse(await response.json());
  return (data ?? []).flatMap(({ spans, processes }) =>
    spans.map((span) => ({
      traceId: span.traceID,
      spanId: span.spanID,
      parentSpanId: span.references?.find(({ refType }) => refType === 'CHILD_OF')?.spanID ?? '',
      name: span.operationName,
      startUs: span.startTime,
      endUs: span.startTime + span.duration,
      attributes: plain(span.tags),
      resource: {
        ...plain(processes[span.processID]?.tags),
        'service.name': processes[span.processID]?.serviceName ?? '',
      },
    })),
  );
}

function plain(list: z.infer<typeof tags> | null | undefined): Record<string, string | number | boolean> {
  return Object.fromEntries((list ?? []).map(({ key, value }) => [key, value]));
}
