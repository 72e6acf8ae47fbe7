/** One trace as a tree of text; its spans may come from any source. */
import type { ReceivedSpan } from './otlp-receiver.js';

export type TraceSpan = Pick<
  ReceivedSpan,
  'traceId' | 'spanId' | 'parentSpanId' | 'name' | 'startUs' | 'endUs' | 'attributes' | 'resource'
>;

const SHOWN = ['craft.group', 'craft.index', 'craft.merged_index', 'error.type'];

/**
 * The spans below each other as their parents say, in the order of their beginnings. Each has its
 * server and service, the start after the first one, and the duration in milliseconds. A span whose
 * parent is not among them stands at the left edge.
 */
export function traceTree(spans: readonly TraceSpan[]): string[] {
  const ordered = [...spans].sort((a, b) => a.startUs - b.startUs);
  const known = new Set(spans.map(({ spanId }) => spanId));
  const origin = ordered[0]?.startUs ?? 0;
  const lines: { label: string; details: string }[] = [];

  const visit = (span: TraceSpan, indent: string, branch: string): void => {
    lines.push({ label: `${indent}${branch}${span.name}`, details: details(span, origin) });
    const children = ordered.filter(({ parentSpanId }) => parentSpanId === span.spanId).sort(inOrder(serverOf(span)));
    const below = branch === '' ? indent : `${indent}${branch === '├─ ' ? '│  ' : '   '}`;
    children.forEach((child, i) => {
      visit(child, below, i === children.length - 1 ? '└─ ' : '├─ ');
    });
  };
  for (const span of ordered) if (!known.has(span.parentSpanId)) visit(span, '', '');

  const width = Math.max(0, ...lines.map(({ label }) => label.length));
  return lines.map(({ label, details: text }) => `${label.padEnd(width)}  ${text}`);
}

/** Of those that begin at the same time, first those of the same server, then by name. */
function inOrder(server: string): (a: TraceSpan, b: TraceSpan) => number {
  const rank = (span: TraceSpan): number => (serverOf(span) === server ? 0 : 1);
  return (a, b) => a.startUs - b.startUs || rank(a) - rank(b) || a.name.localeCompare(b.name);
}

function serverOf({ resource }: TraceSpan): string {
  return String(resource['craft.server'] ?? resource['service.instance.id'] ?? '');
}

function details(span: TraceSpan, originUs: number): string {
  const server = serverOf(span);
  const service = String(span.resource['service.name'] ?? '').replace(/^craft-/, '');
  const at = `+${((span.startUs - originUs) / 1000).toFixed(2)} ms`;
  const duration = `${((span.endUs - span.startUs) / 1000).toFixed(2)} ms`;
  const attributes = SHOWN.filter((name) => span.attributes[name] !== undefined).map(
    (name) => `${name.replace(/^craft\./, '')}=${span.attributes[name]}`,
  );
  return [server.padEnd(3), service.padEnd(8), at.padStart(10), duration.padStart(10), attributes.join(' ')]
    .join('  ')
    .trimEnd();
}
