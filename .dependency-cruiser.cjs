/** Dependencies point one way: services -> shared; the pure core imports nothing but its own files and types. */
module.exports = {
  forbidden: [
    {
      name: 'core-is-pure',
      comment:
        'shared/raft, shared/merge and shared/clock are synchronous and pure: no package, no Node module, no adapter.',
      severity: 'error',
      from: { path: '^shared/(raft|merge|clock)/' },
      to: { pathNot: '^shared/(raft|merge|clock)/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'service-cores-are-pure',
      comment:
        'What a service decides knows nothing of what does it: neither its adapters, nor NATS, Postgres or Node.',
      severity: 'error',
      from: { path: '^services/([^/]+)/core(/|[.]ts$)' },
      to: { pathNot: '^(services/$1/core(/|[.]ts$)|shared/|node_modules/zod/)', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'shared-knows-no-service',
      severity: 'error',
      from: { path: '^shared/' },
      to: { path: '^(services|test|deploy)/' },
    },
    {
      name: 'services-are-strangers',
      comment: 'Services meet over NATS or shared/link only; main.ts alone starts several of them.',
      severity: 'error',
      from: { path: '^services/([^/]+)/' },
      to: { path: '^services/', pathNot: '^services/$1/' },
    },
    {
      name: 'production-knows-no-test',
      severity: 'error',
      from: { path: '^(services|shared|deploy)/' },
      to: { path: '^test/' },
    },
    {
      name: 'no-cycles',
      comment: 'Each file imports what lies below it only, types included.',
      severity: 'error',
      from: { pathNot: '^test/simulation/' },
      to: { circular: true },
    },
    {
      name: 'no-cycles-of-code',
      comment: 'The parts of the simulator know the type of the world that holds them.',
      severity: 'error',
      from: { path: '^test/simulation/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(shared/(wire/generated|client/dist)|deploy/examples)/' },
    tsPreCompilationDeps: 'specify',
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'types', 'default'] },
  },
};
