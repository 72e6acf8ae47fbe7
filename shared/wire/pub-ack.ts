/**
 * Acknowledgements of JetStream. A foreign stream that has the subjects of this cluster answers
 * every request, too, and often before a server does. Such a message is no answer, and must not end
 * the waiting for one.
 */

/**
 * How such a message begins: with the stream, or with why it could not be stored. Answers of this
 * cluster begin with `{"ok":`.
 */
const BEGINNINGS = ['{"stream":', '{"error":'].map((text) => Buffer.from(text));

const [STREAM, ERROR] = [0x73, 0x65];

/** Whether a stream has sent this, and no server of the cluster. */
export function isPubAck(data: Uint8Array): boolean {
  // For every answer: the first letter of the first name tells most.
  if (data[2] !== STREAM && data[2] !== ERROR) return false;
  if (!BEGINNINGS.some((beginning) => beginning.equals(data.subarray(0, beginning.length)))) return false;
  try {
    const value = JSON.parse(Buffer.from(data).toString()) as Record<string, unknown>;
    return !('ok' in value) && ('stream' in value || 'error' in value);
  } catch {
    return false;
  }
}
