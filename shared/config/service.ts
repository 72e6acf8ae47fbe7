/** What `services/main.ts` knows of a service: it starts from the environment, may fail, and can be stopped. */
export interface Service {
  readonly name: string;
  /** Resolves with the reason when the service cannot go on by itself; never rejects. */
  readonly failed: Promise<Error>;
  /** Finishes what is in flight, lets go of leadership, closes connections. */
  stop(): Promise<void>;
}
