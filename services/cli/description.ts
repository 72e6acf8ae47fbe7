/**
 * `craft commands`: what the state machine offers, with the inputs in a short notation like that of
 * TypeScript. Pure.
 */
import { UnknownCommandError } from '../../shared/client/errors.js';
import type { MachineDescription } from '../../shared/client/index.js';
import { table } from './table.js';

type Schema = Readonly<Record<string, unknown>>;
type Calls = MachineDescription['commands'];

/** Columns of a terminal. */
const WIDTH_MAX = 80;
/** Nested objects that are written out, at most. */
const DEPTH_MAX = 4;

/** A table of commands and one of queries, in 80 columns where an input can be said so shortly. */
export function commandsTable({ name, version, commands, queries }: MachineDescription): string {
  const width = Math.max(0, ...[commands, queries].flatMap((calls) => Object.keys(calls).map((one) => one.length)));
  const parts = [part('command', commands, width), part('query', queries, width)];
  return [`${name}, version ${version}`, ...parts.filter((one) => one !== '')].join('\n\n');
}

/** The JSON Schema of a command's or a query's input. @throws UnknownCommandError */
export function inputSchema({ commands, queries }: MachineDescription, name: string): Schema {
  const calls = [commands, queries].find((one) => Object.hasOwn(one, name));
  const found = calls?.[name];
  if (found === undefined) {
    throw new UnknownCommandError(
      `there is no ${name}; there are ${Object.keys({ ...commands, ...queries }).join(', ')}`,
    );
  }
  return found.input ?? {};
}

function part(heading: string, calls: Calls, namesWidth: number): string {
  const width = Math.max(heading.length, namesWidth);
  const rows = Object.entries(calls).map(([name, { input }]) => [
    name,
    input === undefined ? 'any' : shortest(input, WIDTH_MAX - width - 2),
  ]);
  // Both parts have columns of one width.
  return rows.length === 0 ? '' : table([heading.padEnd(width), 'input'], rows);
}

/** With as many nested objects written out as fit. */
function shortest(schema: Schema, width: number): string {
  for (let depth = DEPTH_MAX; depth > 1; depth -= 1) {
    const text = inputText(schema, depth);
    if (text.length <= width) return text;
  }
  return inputText(schema, 1);
}

/**
 * The values of a JSON Schema in words: `{key: string, ifVersion?: integer}`.
 * @param depth how deep nested objects are written out; deeper ones are `{…}`
 */
export function inputText(schema: Schema, depth: number = DEPTH_MAX): string {
  return new Notation(isRecord(schema['$defs']) ? schema['$defs'] : {}).text(schema, depth);
}

class Notation {
  /**
   * Definitions that are being written out. A recursive one, which is any JSON mostly, is not
   * followed.
   */
  private readonly open = new Set<string>();

  constructor(private readonly definitions: Schema) {}

  text(schema: unknown, depth: number): string {
    return this.alternatives(schema, depth).join(' | ');
  }

  private alternatives(schema: unknown, depth: number): string[] {
    if (!isRecord(schema)) return ['any'];
    const { $ref: ref, const: constant, enum: values, anyOf, oneOf = anyOf, type } = schema;
    if (typeof ref === 'string') return this.definition(ref, depth);
    if (constant !== undefined) return [JSON.stringify(constant)];
    if (Array.isArray(values)) return values.map((one) => JSON.stringify(one));
    if (Array.isArray(oneOf)) return [...new Set(oneOf.flatMap((one) => this.alternatives(one, depth)))];
    if (Array.isArray(type)) return type.flatMap((one) => this.alternatives({ ...schema, type: one }, depth));
    if (type === 'array') return [this.array(schema, depth)];
    if (type === 'object') return [this.object(schema, depth)];
    return [typeof type === 'string' ? type : 'any'];
  }

  private definition(ref: string, depth: number): string[] {
    const name = ref.replace(/^#\/\$defs\//, '');
    if (this.open.has(name)) throw new RecursiveError(name);
    this.open.add(name);
    try {
      return this.alternatives(this.definitions[name], depth);
    } catch (error) {
      if (error instanceof RecursiveError && error.definition === name) return ['any'];
      throw error;
    } finally {
      this.open.delete(name);
    }
  }

  private array({ items }: Schema, depth: number): string {
    const each = this.alternatives(items, depth);
    return each.length > 1 ? `(${each.join(' | ')})[]` : `${each[0]}[]`;
  }

  private object({ properties, required, additionalProperties }: Schema, depth: number): string {
    if (!isRecord(properties)) {
      return isRecord(additionalProperties) ? `{[key]: ${this.text(additionalProperties, depth)}}` : '{…}';
    }
    const names = Object.keys(properties);
    if (names.length === 0) return '{}';
    if (depth === 0) return '{…}';
    const isRequired = (name: string): boolean => Array.isArray(required) && required.includes(name);
    const fields = names.map(
      (name) => `${name}${isRequired(name) ? '' : '?'}: ${this.text(properties[name], depth - 1)}`,
    );
    return `{${fields.join(', ')}}`;
  }
}

/** A definition contains itself. */
class RecursiveError extends Error {
  constructor(readonly definition: string) {
    super(`${definition} contains itself`);
  }
}

function isRecord(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
