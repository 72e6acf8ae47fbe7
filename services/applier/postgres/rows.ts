/** What goes to Postgres and what comes back. */

/** Rows as arrays of columns. */
export type Rows = readonly (readonly unknown[])[];

/** A statement and its parameters. */
export type Statement = readonly [text: string, parameters: readonly string[]];
