/**
 * Tests as they were built, by Node.js itself: what takes minutes of processor time takes less of
 * it than transformed code does.
 */
import { defineConfig } from 'vitest/config';
import config from '../../vitest.config.js';

export default defineConfig({
  test: {
    ...config.test,
    include: ['dist/test/simulation/*.test.js'],
    experimental: { viteModuleRunner: false },
    // As `npm run sim` has it: much is allocated that does not live long.
    execArgv: ['--max-semi-space-size=32'],
  },
});
