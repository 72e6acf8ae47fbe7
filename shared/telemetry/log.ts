/** Logs: JSON lines on standard output, each with the service and the server that wrote it. */
import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger };

export interface LoggerOptions {
  /** For example `replica`. */
  readonly service: string;
  readonly server: string;
  /** CRAFT_LOG_LEVEL: trace, debug, info, warn, error, fatal or silent. */
  readonly level: string;
  /** Instead of standard output. */
  readonly destination?: DestinationStream;
}

/** A logger whose every line carries `service` and `server`. */
export function createLogger(options: LoggerOptions): Logger {
  return pino(
    {
      level: options.level,
      base: { service: options.service, server: options.server },
      timestamp: pino.stdTimeFunctions.isoTime,
      // Node keeps an address that it cannot read in the error, with the password.
      redact: { paths: ['err.input', 'err.cause.input', 'detail.input'], remove: true },
    },
    options.destination,
  );
}

/**
 * Says that something of this kind happened; `detail` of the newest occurrence since the last line
 * is logged.
 */
export type WarnOccasionally = (kind: string, detail?: unknown) => void;

interface Kind {
  /** Occurrences since the last line. */
  count: number;
  /** All occurrences. */
  total: number;
  /** Of the newest occurrence since the last line that had one. */
  detail: unknown;
  /** Runs while lines of this kind are held back. */
  timer: NodeJS.Timeout | undefined;
}

/**
 * Warnings about input that any client can send at any rate (malformed bytes on a subject, say).
 * The first of a kind is logged at once. Then at most one line in `intervalMs` (milliseconds) says
 * how many there were. A burst is always counted to its end: what was held back is logged when the
 * interval is over. `kind` must come from a small fixed set, never from the input.
 */
export function warnOccasionally(logger: Pick<Logger, 'warn'>, intervalMs = 10_000): WarnOccasionally {
  const kinds = new Map<string, Kind>();

  function write(name: string, kind: Kind): void {
    const detail = kind.detail instanceof Error ? { err: kind.detail } : { detail: kind.detail };
    logger.warn({ kind: name, count: kind.count, total: kind.total, ...detail }, name);
    kind.count = 0;
    kind.detail = undefined;
    kind.timer = setTimeout(() => {
      kind.timer = undefined;
      if (kind.count > 0) write(name, kind);
    }, intervalMs).unref();
  }

  return (name, detail) => {
    let kind = kinds.get(name);
    if (kind === undefined) {
      kind = { count: 0, total: 0, detail: undefined, timer: undefined };
      kinds.set(name, kind);
    }
    kind.count += 1;
    kind.total += 1;
    kind.detail = detail ?? kind.detail;
    if (kind.timer === undefined) write(name, kind);
  };
}
