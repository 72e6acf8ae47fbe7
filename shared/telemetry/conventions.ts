/** Attributes as OpenTelemetry's semantic conventions for messaging and databases name them. */
import type { Attributes } from '@opentelemetry/api';
import type { DatabaseCall } from '../engine/port.js';
import type { SpanAttributes } from './tracing.js';

/** Longest text of a statement in a span (characters). */
const TEXT_LENGTH_MAX = 2_048;
/** The first words of a text that holds one statement or several. */
const OPERATION = /^(?:\s|;|--[^\n]*\n)*(?:with\s[\s\S]*?\b(?=insert into|update|delete from))?([a-z]+)/i;
/** What the operation works on. */
const TARGET = /\b(?:into|update|from)\s+("?[a-z_][\w$."]*)/i;

/** Of a message that was received on this subject. */
export function receivedAttributes(subject: string): Attributes {
  return {
    'messaging.system': 'nats',
    'messaging.operation.type': 'process',
    'messaging.operation.name': 'process',
    'messaging.destination.name': subject,
  };
}

/** Of an answer. Its subject is an inbox of the client, one of very many: it is left out. */
export const ANSWER_ATTRIBUTES: Attributes = {
  'messaging.system': 'nats',
  'messaging.operation.type': 'send',
  'messaging.operation.name': 'publish',
  'messaging.destination.temporary': true,
};

/** Of something that was sent to Postgres; `count` of them, when it stands for several. */
export function databaseAttributes({ text, error }: DatabaseCall, count = 1): SpanAttributes {
  const operation = count > 1 ? 'BATCH' : (OPERATION.exec(text)?.[1] ?? 'STATEMENT').toUpperCase();
  const target = count > 1 || operation === 'BEGIN' ? undefined : TARGET.exec(text)?.[1];
  return {
    label: target === undefined ? operation : `${operation} ${target}`,
    ...(error === undefined ? {} : { error }),
    more: {
      'db.system.name': 'postgresql',
      'db.operation.name': operation,
      ...(target === undefined ? {} : { 'db.collection.name': target }),
      ...(count > 1 ? { 'db.operation.batch.size': count } : { 'db.query.text': text.slice(0, TEXT_LENGTH_MAX) }),
      ...(error === undefined ? {} : { 'db.response.status_code': error }),
    },
  };
}
