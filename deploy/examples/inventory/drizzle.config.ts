import { defineConfig } from 'drizzle-kit';

/** The tables of the newest version. */
export default defineConfig({ dialect: 'postgresql', schema: './src/schema-2.ts', out: './migrations' });
