/** One way of getting a tool that did not work, and why. */
export interface Attempt {
  readonly method: string;
  readonly reason: string;
}

/** No way of getting a tool worked; the message lists each that was tried and what to do. */
export class ToolUnavailableError extends Error {
  readonly code = 'TOOL_UNAVAILABLE';
  constructor(
    readonly tool: string,
    readonly attempts: readonly Attempt[],
    advice: string,
  ) {
    const tried = attempts.map(({ method, reason }) => `  - ${method}: ${reason}`).join('\n');
    super(`${tool} could not be found or fetched. Tried:\n${tried}\n${advice}`);
    this.name = 'ToolUnavailableError';
  }
}

/** A command could not be started, failed, or took longer than it was given. */
export class CommandError extends Error {
  readonly code = 'COMMAND';
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'CommandError';
  }
}
