/**
 * What takes part in the benchmark. Each contestant begins each of its turns empty, and has the
 * machine for itself.
 */
import type { Target } from '../load/protocol.js';
import type { Processes } from '../processes.js';
import type { Stage } from '../systems/stage.js';

export interface Contestant {
  /** On the command line and in results. */
  readonly name: string;
  /** For readers. */
  readonly title: string;
  /**
   * Fetches what it needs, once, and returns its name and version where the results should say so.
   * Rejects with ToolUnavailableError when it cannot be had here: then the contestant is left out.
   */
  prepare?(notice: (line: string) => void): Promise<Readonly<Record<string, string>>>;
  /** Resolves when requests are taken. */
  start(stage: Stage): Promise<Running>;
}

export interface Running {
  readonly target: Target;
  /** Those whose processor time counts. */
  readonly processes: Processes;
  /** Addresses of the monitoring of its NATS servers. */
  readonly monitors: readonly string[];
  /**
   * Resolves with what was looked at when all of `succeeded` acknowledged puts are there; else
   * rejects.
   */
  verify(succeeded: number): Promise<string>;
  stop(): Promise<void>;
}
