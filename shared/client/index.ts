export * from './client.js';
export * from './errors.js';
export type { Json, KvDelete, KvOperation, KvPut, KvValue } from './kv.js';
export type { Ack, CallOptions, CommandOptions, CommandReply, CraftOptions, QueryOptions } from './options.js';
export type { ServerStatus, StateStatus } from './reply.js';
