/** The built-in key-value machine, typed. */
import type { CommandOptions, CommandReply, QueryOptions } from './options.js';

/** Any JSON value. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

export interface KvPut {
  readonly key: string;
  readonly value: Json;
  /** Only when the key has this version; 0: only when the key does not exist. */
  readonly ifVersion?: number;
}
export interface KvDelete {
  readonly key: string;
  readonly ifVersion?: number;
}
export type KvOperation = { readonly put: KvPut } | { readonly delete: KvDelete };

export interface KvValue {
  readonly value: Json;
  /** 1 for a new key, one more with every put. */
  readonly version: number;
}

/** The part of the client that this needs. */
interface Caller {
  command(name: string, input: unknown, options?: CommandOptions): Promise<CommandReply>;
  query(name: string, input: unknown, options?: QueryOptions): Promise<unknown>;
}

/**
 * Every method throws what `CraftClient.command` and `query` throw; RejectedError when `ifVersion`
 * does not hold.
 */
export class Kv {
  constructor(private readonly client: Caller) {}

  put(key: string, value: Json, options?: CommandOptions & { ifVersion?: number }) {
    const input = { key, value, ...condition(options) };
    return this.client.command('kv.put', input, options) as Promise<CommandReply<{ version: number }>>;
  }

  delete(key: string, options?: CommandOptions & { ifVersion?: number }) {
    const input = { key, ...condition(options) };
    return this.client.command('kv.delete', input, options) as Promise<CommandReply<{ deleted: boolean }>>;
  }

  /** All of the operations or none. */
  txn(ops: readonly KvOperation[], options?: CommandOptions): Promise<CommandReply> {
    return this.client.command('kv.txn', { ops }, options);
  }

  get(key: string, options?: QueryOptions): Promise<KvValue | null> {
    return this.client.query('kv.get', { key }, options) as Promise<KvValue | null>;
  }

  /**
   * In order of key; `after` is the last key of the page before. A page may have fewer rows than
   * `limit`: the end is an empty one.
   */
  list(range: { prefix?: string; limit?: number; after?: string } = {}, options?: QueryOptions): Promise<unknown> {
    return this.client.query('kv.list', range, options);
  }
}

function condition(options: { ifVersion?: number } | undefined): { ifVersion?: number } {
  return options?.ifVersion === undefined ? {} : { ifVersion: options.ifVersion };
}
