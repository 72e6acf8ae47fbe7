/** Errors of the services, and what is said of any. */

/** One class for each failure; its name is that of the class. */
export class NamedError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}

export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

export function messageOf(thrown: unknown): string {
  return toError(thrown).message;
}

/** An error's message with that of its cause, where that says more. */
export function messageWithCause(thrown: unknown): string {
  const { message, cause, name } = toError(thrown);
  if (!(cause instanceof Error) || message.includes(cause.message)) return message === '' ? name : message;
  return `${message}: ${cause.message}`;
}
