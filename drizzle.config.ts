/** `npx drizzle-kit generate` writes the next migration from the difference between the schema and the last one. */
import { defineConfig } from 'drizzle-kit';

export default defineConfig({
  dialect: 'postgresql',
  schema: './services/applier/postgres/schema.ts',
  out: './migrations',
});
