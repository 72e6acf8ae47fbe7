/** Whether a value is a state machine, for modules that no compiler has looked at. */
import { RESERVED_PREFIX } from '../wire/restore.js';

/** What keeps `value` from being a state machine, in words; undefined when it is one. */
export function shapeProblem(value: unknown): string | undefined {
  if (!isRecord(value)) return 'is no state machine {name, commands, queries}';
  const { name, commands, queries } = value;
  if (typeof name !== 'string' || name === '') return 'is no state machine {name, commands, queries}: it has no name';
  for (const [kind, definitions] of Object.entries({ commands, queries })) {
    if (!isRecord(definitions)) return `is no state machine {name, commands, queries}: it has no ${kind}`;
    for (const [called, definition] of Object.entries(definitions)) {
      const problem = isRecord(definition) ? definitionProblem(definition) : 'is no {input, handle}';
      if (problem !== undefined) return `has a wrong definition: ${kind}[${JSON.stringify(called)}] ${problem}`;
    }
  }
  const names = [...Object.keys(commands as object), ...Object.keys(queries as object)];
  const reserved = names.find((one) => one.startsWith(RESERVED_PREFIX));
  if (reserved === undefined) return undefined;
  return `has ${JSON.stringify(reserved)}: names that begin with ${RESERVED_PREFIX} are reserved`;
}

function definitionProblem({ input, handle }: Record<string, unknown>): string | undefined {
  const standard = isRecord(input) ? input['~standard'] : undefined;
  if (!isRecord(standard) || typeof standard['validate'] !== 'function') {
    return 'has no input schema (of zod, or of another library of the Standard Schema interface)';
  }
  return typeof handle === 'function' ? undefined : 'has no function "handle"';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return (typeof value === 'object' || typeof value === 'function') && value !== null;
}
