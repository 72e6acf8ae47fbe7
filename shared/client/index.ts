/**
 * The client: the package `craft-client`, and `craft/client` of the package `craft`.
 *
 * @module craft/client
 */
export * from './client.js';
export * from './errors.js';
export type { Json, KvDelete, KvOperation, KvPut, KvValue } from './kv.js';
export type {
  AppliedReply,
  CommandCalls,
  InputOf,
  JsonOf,
  MachineTypes,
  QueryCalls,
  ReplyTo,
  ResultOf,
} from './machine.js';
export type { Ack, CallOptions, CommandOptions, CommandReply, CraftOptions, QueryOptions } from './options.js';
export type { MachineDescription, ServerHealth, ServerStatus, ServiceHealth, StateStatus } from './reply.js';
