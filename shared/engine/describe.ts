/**
 * What a state machine offers: its commands and queries, with JSON Schemas of their inputs. For
 * people, and for programs that call it.
 */
import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec';
import { type MachineVersion, type StateMachineContract, versionOf } from './state-machine.js';

/** The query that is answered with this, by every server; no state machine's query has the name. */
export const DESCRIBE_QUERY = 'craft.describe';

interface CallDescription {
  /**
   * JSON Schema (draft 2020-12) of the input. Absent when the library of the schema cannot tell.
   */
  readonly input?: Record<string, unknown>;
}

/** A state machine in one of its versions. */
export interface MachineDescription extends MachineVersion {
  readonly commands: Readonly<Record<string, CallDescription>>;
  readonly queries: Readonly<Record<string, CallDescription>>;
}

export function describeMachine(contract: StateMachineContract): MachineDescription {
  const { commands, queries } = contract;
  return { ...versionOf(contract), commands: describeAll(commands), queries: describeAll(queries) };
}

function describeAll(calls: Readonly<Record<string, { input: StandardSchemaV1 }>>): Record<string, CallDescription> {
  const entries = Object.entries(calls).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([name, { input }]) => [name, describeInput(input)]));
}

/** By the Standard JSON Schema interface, which zod 4.2 and others have. */
function describeInput(schema: StandardSchemaV1): CallDescription {
  const { jsonSchema } = schema['~standard'] as Partial<StandardJSONSchemaV1.Props>;
  if (jsonSchema === undefined) return {};
  try {
    // `unrepresentable`: zod then takes what JSON Schema has no words for as anything, instead of
    // throwing.
    const options = { target: 'draft-2020-12', libraryOptions: { unrepresentable: 'any' } } as const;
    return { input: jsonSchema.input(options) };
  } catch {
    return {};
  }
}
