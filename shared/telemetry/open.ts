/** What every service opens to be seen: its metrics and its tracing. */
import type { CommonConfig } from '../config/config.js';
import type { Opened } from '../config/opened.js';
import type { ServiceName } from '../health/conditions.js';
import type { WarnOccasionally } from './log.js';
import { type Metrics, openMetrics } from './metrics.js';
import { createTracing, type Tracing } from './tracing.js';

/** How long the last spans may take to leave when a service stops (milliseconds). */
const EXPORT_MS_MAX = 5_000;

/**
 * First of all a service opens, so last to be closed: what closes before is still measured. Rejects
 * when the port cannot be had, or OpenTelemetry is configured wrongly.
 */
export async function openTelemetry(
  service: ServiceName,
  { cluster, server, metricsPort, metricsAddress }: CommonConfig,
  warn: WarnOccasionally,
  opened: Opened,
): Promise<{ readonly metrics: Metrics; readonly tracing: Tracing }> {
  const opening = openMetrics({ cluster, service, server, port: metricsPort, address: metricsAddress });
  const metrics = await opened.open('the metrics', opening, (one) => one.close());
  const onExportError = (error: Error) => warn('span export failed', error);
  const creating = createTracing({ service, server, cluster, onExportError });
  const tracing = await opened.open('the tracing', creating, (one) => one.stop(), { msMax: EXPORT_MS_MAX });
  return { metrics, tracing };
}
