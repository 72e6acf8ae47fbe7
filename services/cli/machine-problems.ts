/** What is wrong with the versions of the state machine that the servers have loaded. Pure. */
import type { ServerStatus } from '../../shared/client/index.js';

/** In sentences. */
export function machineProblems(statuses: readonly ServerStatus[]): string[] {
  const problems: string[] = [];
  const builds = new Map<string, Map<string, string[]>>();
  for (const { server, state } of statuses) {
    for (const { version, fingerprint } of state?.machine?.loaded ?? []) {
      const key = `version ${version} of ${state?.machine?.name}`;
      const found = builds.get(key) ?? new Map<string, string[]>();
      builds.set(key, found.set(fingerprint, [...(found.get(fingerprint) ?? []), server]));
    }
  }
  for (const [which, prints] of builds) {
    if (prints.size < 2) continue;
    const each = [...prints].map(([fingerprint, servers]) => `${servers.join(', ')}: ${fingerprint}`);
    problems.push(
      `${which} is not the same everywhere (${each.join('; ')}): start all servers with one module, and give a change a version of its own`,
    );
  }
  const names = new Set(statuses.flatMap(({ state }) => state?.machine?.name ?? []));
  if (names.size > 1) problems.push(`the servers have several state machines: ${[...names].join(', ')}`);
  return problems;
}
