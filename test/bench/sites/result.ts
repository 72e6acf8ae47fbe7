/** What a run of the benchmark of far sites has found. */
import type { Absence } from './cut-off.js';
import type { LatenessSummary } from './lateness.js';
import type { Topology } from './nats-sites.js';
import type { Profile } from './profiles.js';
import type { Row } from './table.js';

export interface SitesResult {
  readonly date: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly machine: Readonly<Record<string, string | number>>;
  readonly profile: Profile;
  readonly jitterMs: number;
  readonly topology: Topology;
  /** Clients named the server of their site. */
  readonly ownServer: boolean;
  /** How far the clock of each site was ahead. */
  readonly clocksMs: readonly number[];
  readonly rows: readonly Row[];
  readonly absences: readonly Absence[];
  /** Of the delaying lines, over all rows; each row has its own. */
  readonly lateness: LatenessSummary;
}
