/** What a planted defect is, and how it replaces a part of the production code. */
import type { SimulationRequest } from '../options.js';

/** The cluster in which a defect is looked for. */
export type Shape = Pick<
  SimulationRequest,
  'servers' | 'spares' | 'groups' | 'faults' | 'skewed' | 'stranded' | 'snapshotEvery' | 'versions'
>;

export interface Plan {
  readonly name: string;
  readonly what: string;
  /** Seeds 1 to this one find it; 40 unless stated. */
  readonly within?: number;
  /** One of them that does; the others are tried when it does not any more. */
  readonly foundBy?: number;
  /** Any cluster unless stated. */
  readonly shape?: Shape;
  /** Puts it in; what is returned takes it out. */
  readonly install: () => () => void;
}

interface Class {
  readonly prototype: object;
}

// biome-ignore lint/suspicious/noExplicitAny: methods of any shape are replaced here
type Any = any;

/** Takes the place of a method; `original` is that method of the same object. */
export type Replacement = (this: Any, original: (...given: Any[]) => Any, ...given: Any[]) => Any;

/** Replaces a method, private ones too. */
export function replace(of: Class, method: string, replacement: Replacement): () => void {
  const descriptor = Object.getOwnPropertyDescriptor(of.prototype, method);
  const original: unknown = descriptor?.value;
  if (descriptor === undefined || typeof original !== 'function') throw new Error(`no method ${method}`);
  const value = function (this: Any, ...given: Any[]): Any {
    return replacement.call(this, (...passed) => original.apply(this, passed), ...given);
  };
  return define(of, method, { ...descriptor, value }, descriptor);
}

/** Replaces the getter of a property. */
export function replaceGetter(of: Class, property: string, get: (this: Any) => unknown): () => void {
  const descriptor = Object.getOwnPropertyDescriptor(of.prototype, property);
  if (descriptor?.get === undefined) throw new Error(`no getter ${property}`);
  return define(of, property, { ...descriptor, get }, descriptor);
}

function define(
  { prototype }: Class,
  name: string,
  replaced: PropertyDescriptor,
  original: PropertyDescriptor,
): () => void {
  Object.defineProperty(prototype, name, replaced);
  return () => Object.defineProperty(prototype, name, original);
}

/** Takes out in the opposite order: the same method may have been replaced twice. */
export function all(...undo: (() => void)[]): () => void {
  return () => {
    for (const one of undo.reverse()) one();
  };
}
