/**
 * Header of a published message that carries where the consumer answers to: the reply field belongs
 * to JetStream.
 */
export const REPLY_TO = 'Reply-To';
