/**
 * What integration tests stand on. One start for each file: `beforeAll` starts, `afterAll` stops.
 */
export * from './cluster.js';
export * from './eventually.js';
export * from './folder.js';
export * from './metrics.js';
export * from './servers.js';
export * from './shell.js';
