/**
 * The manifests against each other, against the configuration that the services read, and against
 * what `prepare.mjs` writes. Every name, label, port and key that one of them refers to is there.
 * No cluster is asked.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
import { applierConfig, replicaConfig } from '../../../shared/config/config.js';
import { type TemporaryFolder, temporaryFolder } from '../../harness/folder.js';
import { filesIn } from '../docs/files.js';
import { knownVariables, variablesOf } from './variables.js';

const folder = 'deploy/kubernetes';
const read = (path: string) => readFileSync(join(projectRoot(), path), 'utf8');

const texts = z.array(z.string());
const generator = z.strictObject({ name: z.string(), files: texts });
const kustomization = z.strictObject({
  apiVersion: z.literal('kustomize.config.k8s.io/v1beta1'),
  kind: z.literal('Kustomization'),
  namespace: z.string().optional(),
  resources: texts,
  images: z.array(z.strictObject({ name: z.string(), newName: z.string(), newTag: z.string() })).default([]),
  generatorOptions: z.strictObject({ disableNameSuffixHash: z.literal(true) }).optional(),
  configMapGenerator: z.array(generator).default([]),
  secretGenerator: z.array(generator).default([]),
});

const labels = z.record(z.string(), z.string());
const selector = z.strictObject({ matchLabels: labels.default({}) });
const port = z.union([z.string(), z.number()]);
const probe = z.looseObject({
  periodSeconds: z.number(),
  failureThreshold: z.number().default(3),
  httpGet: z.strictObject({ path: z.string(), port }).optional(),
  exec: z.strictObject({ command: texts }).optional(),
});
const mount = z.strictObject({
  name: z.string(),
  mountPath: z.string(),
  subPath: z.string().optional(),
  subPathExpr: z.string().optional(),
  readOnly: z.literal(true).optional(),
});
const container = z.strictObject({
  name: z.string(),
  image: z.string(),
  command: texts.optional(),
  args: texts.default([]),
  env: z
    .array(
      z.union([
        z.strictObject({ name: z.string(), value: z.string() }),
        z.strictObject({
          name: z.string(),
          valueFrom: z.strictObject({ fieldRef: z.strictObject({ fieldPath: z.literal('metadata.name') }) }),
        }),
      ]),
    )
    .default([]),
  envFrom: z.array(z.strictObject({ configMapRef: z.strictObject({ name: z.string() }) })).default([]),
  ports: z.array(z.strictObject({ name: z.string(), containerPort: z.number() })).default([]),
  startupProbe: probe.optional(),
  livenessProbe: probe.optional(),
  readinessProbe: probe.optional(),
  resources: z.strictObject({ requests: labels, limits: z.strictObject({ memory: z.string() }) }),
  securityContext: z.looseObject({}),
  volumeMounts: z.array(mount),
});
const podTemplate = z.strictObject({
  metadata: z.strictObject({ labels }),
  spec: z.looseObject({
    serviceAccountName: z.string(),
    enableServiceLinks: z.boolean().optional(),
    securityContext: z.looseObject({}),
    containers: z.tuple([container]),
    topologySpreadConstraints: z.array(z.looseObject({ labelSelector: selector })).default([]),
    volumes: z
      .array(
        z.strictObject({
          name: z.string(),
          emptyDir: z.looseObject({}).optional(),
          secret: z.strictObject({ secretName: z.string() }).optional(),
          configMap: z.strictObject({ name: z.string() }).optional(),
        }),
      )
      .default([]),
  }),
});
const workload = z.looseObject({
  replicas: z.number(),
  serviceName: z.string().optional(),
  podManagementPolicy: z.string().optional(),
  selector,
  template: podTemplate,
  volumeClaimTemplates: z.array(z.looseObject({ metadata: z.strictObject({ name: z.string() }) })).default([]),
});
const peer = z.strictObject({
  namespaceSelector: z.union([selector, z.strictObject({})]).optional(),
  podSelector: selector.optional(),
});
const peerPort = z.strictObject({ protocol: z.enum(['TCP', 'UDP']), port });
const policy = z.strictObject({
  podSelector: selector,
  policyTypes: z.tuple([z.literal('Ingress'), z.literal('Egress')]),
  ingress: z.array(z.strictObject({ from: z.array(peer), ports: z.array(peerPort) })).default([]),
  egress: z.array(z.strictObject({ to: z.array(peer), ports: z.array(peerPort) })).default([]),
});
const service = z.looseObject({
  clusterIP: z.literal('None'),
  selector: labels,
  ports: z.array(z.strictObject({ name: z.string(), port: z.number(), targetPort: z.string() })),
});

const API_VERSIONS: Readonly<Record<string, string>> = {
  ...{ ConfigMap: 'v1', Namespace: 'v1', Service: 'v1', ServiceAccount: 'v1' },
  ...{ StatefulSet: 'apps/v1', Deployment: 'apps/v1', PodDisruptionBudget: 'policy/v1' },
  ...{ NetworkPolicy: 'networking.k8s.io/v1', ServiceMonitor: 'monitoring.coreos.com/v1' },
};
const manifest = z
  .looseObject({
    apiVersion: z.string(),
    kind: z.enum(Object.keys(API_VERSIONS) as [string, ...string[]]),
    metadata: z.strictObject({ name: z.string(), labels: labels.default({}) }),
    spec: z.unknown().optional(),
    data: labels.optional(),
  })
  .refine(({ apiVersion, kind }) => apiVersion === API_VERSIONS[kind], 'another version');
type Manifest = z.output<typeof manifest>;

/**
 * Everything that a kustomization brings, as kustomize reads it; and the files of its generators,
 * by name.
 */
function load(path: string): { manifests: Manifest[]; files: Map<string, Map<string, string>> } {
  const { resources, configMapGenerator, secretGenerator } = kustomization.parse(
    parse(read(`${path}/kustomization.yaml`)),
  );
  const manifests: Manifest[] = [];
  const files = new Map(
    [...configMapGenerator, ...secretGenerator].map((one) => [
      one.name,
      new Map(one.files.map((file) => [basename(file), file])),
    ]),
  );
  for (const resource of resources) {
    if (resource.endsWith('.yaml')) {
      const documents = parseAllDocuments(read(`${path}/${resource}`));
      manifests.push(...documents.map((document) => manifest.parse(document.toJS())));
      continue;
    }
    const below = load(join(path, resource));
    manifests.push(...below.manifests);
    for (const [name, keys] of below.files) files.set(name, keys);
  }
  return { manifests, files };
}

const { manifests, files } = load(`${folder}/example`);
const ofKind = <S extends z.ZodType>(kind: string, schema: S) =>
  manifests
    .filter((one) => one.kind === kind)
    .map(({ metadata, spec }) => ({ name: metadata.name, labels: metadata.labels, spec: schema.parse(spec) }));
const sets = ofKind('StatefulSet', workload);
const workloads = [...sets, ...ofKind('Deployment', workload)];
const services = ofKind('Service', service);
const policies = ofKind('NetworkPolicy', policy);

const matches = (wanted: Record<string, string>, given: Record<string, string>) =>
  Object.entries(wanted).every(([key, value]) => given[key] === value);
const selected = (wanted: Record<string, string>) =>
  workloads.filter(({ spec }) => matches(wanted, spec.template.metadata.labels));
const containerOf = ({ spec }: (typeof workloads)[number]) => spec.template.spec.containers[0];
function find<T extends { name: string }>(all: readonly T[], name: string): T {
  const found = all.find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}
/** Names of the pods of a set. */
const podsOf = ({ name, spec }: (typeof sets)[number]) =>
  Array.from({ length: spec.replicas }, (_, ordinal) => `${name}-${ordinal}`);

/** What prepare.mjs has written, in place of the folder `secrets`. */
let written: TemporaryFolder;
beforeAll(async () => {
  written = await temporaryFolder('kubernetes');
  const script = join(projectRoot(), 'deploy/prepare.mjs');
  await promisify(execFile)(process.execPath, [script, 'kubernetes', join(written.path, 'secrets')]);
}, 60_000);
afterAll(() => written?.remove());

/** The text behind a mounted file of a pod. */
function mountedFile(set: (typeof workloads)[number], pod: string, mountPath: string): string {
  const { volumeMounts } = containerOf(set);
  const found = volumeMounts.find((one) => one.mountPath === mountPath);
  const volume = set.spec.template.spec.volumes.find(({ name }) => name === found?.name);
  const key = found?.subPath ?? found?.subPathExpr?.replace(/\$\(\w+\)/, pod) ?? '';
  const file = files.get(volume?.secret?.secretName ?? '')?.get(key);
  if (file === undefined) throw new Error(`${pod}: no key ${key} for ${mountPath}`);
  return readFileSync(join(written.path, file), 'utf8');
}

describe('deploy/kubernetes', () => {
  it('has kustomizations that all are read, and nothing beside them', () => {
    const parts = filesIn(folder, 'kustomization.yaml').map((path) => dirname(path));
    expect(parts.sort()).toEqual(
      ['base', 'example', 'monitoring', 'nats', 'postgres'].map((one) => `${folder}/${one}`),
    );
    const all = parts.flatMap((path) => load(path).manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`));
    expect(all).toContain('ServiceMonitor craft');
    const listed = parts.flatMap((path) => kustomization.parse(parse(read(`${path}/kustomization.yaml`))).resources);
    const names = filesIn(folder, '.yaml').map((path) => basename(path));
    for (const name of names) expect([...listed, 'kustomization.yaml']).toContain(name);
  });

  it('names nothing twice', () => {
    const names = manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
    expect(workloads.map(({ name }) => name).sort()).toEqual(['craft', 'craft-toolbox', 'nats', 'postgres']);
  });

  it('selects what it means: pods by their labels, and each by one set', () => {
    for (const { name, spec } of workloads) {
      expect(
        selected(spec.selector.matchLabels).map((one) => one.name),
        name,
      ).toEqual([name]);
      for (const { labelSelector } of spec.template.spec.topologySpreadConstraints) {
        expect(
          selected(labelSelector.matchLabels).map((one) => one.name),
          name,
        ).toEqual([name]);
      }
    }
    for (const { name, spec } of sets) {
      expect(selected(find(services, spec.serviceName ?? '').spec.selector).map((one) => one.name)).toEqual([name]);
      // No server is ready before a majority of them runs.
      expect(spec.podManagementPolicy).toBe('Parallel');
      const budget = z.strictObject({ maxUnavailable: z.literal(1), selector });
      expect(find(ofKind('PodDisruptionBudget', budget), name).spec.selector).toEqual(spec.selector);
    }
  });

  it('has services and rules for ports that a container has', () => {
    const portsOf = (wanted: Record<string, string>) => selected(wanted).flatMap((one) => containerOf(one).ports);
    for (const { name, spec } of services) {
      for (const one of spec.ports) {
        const target = portsOf(spec.selector).find((other) => other.name === one.targetPort);
        expect(target?.containerPort, `${name} ${one.name}`).toBe(one.port);
      }
    }
    for (const { name, spec } of policies) {
      const isThere = (wanted: Record<string, string>, { port: given }: z.output<typeof peerPort>) =>
        portsOf(wanted).some((one) => one.name === given || one.containerPort === given);
      for (const { ports } of spec.ingress) {
        for (const one of ports) expect(isThere(spec.podSelector.matchLabels, one), `${name} ${one.port}`).toBe(true);
      }
      for (const { to, ports } of spec.egress) {
        for (const { podSelector } of to.filter((one) => one.podSelector !== undefined)) {
          for (const one of ports)
            expect(isThere(podSelector?.matchLabels ?? {}, one), `${name} ${one.port}`).toBe(true);
        }
      }
    }
  });

  it('lets in what goes out: each rule for another set of pods has its counterpart', () => {
    for (const { spec } of policies) {
      for (const { to, ports } of spec.egress) {
        for (const { podSelector } of to) {
          if (podSelector === undefined) continue;
          const [target] = selected(podSelector.matchLabels);
          const [source] = selected(spec.podSelector.matchLabels);
          const own = policies.find((one) =>
            matches(one.spec.podSelector.matchLabels, target?.spec.template.metadata.labels ?? {}),
          );
          const numbers = (list: readonly z.output<typeof peerPort>[]) =>
            list.map(
              (one) =>
                target &&
                containerOf(target).ports.find((p) => [p.name, p.containerPort].includes(one.port))?.containerPort,
            );
          const isLetIn = own?.spec.ingress.some(
            (rule) =>
              rule.from.some(
                (from) =>
                  from.podSelector &&
                  matches(from.podSelector.matchLabels, source?.spec.template.metadata.labels ?? {}),
              ) && numbers(ports).every((one) => one !== undefined && numbers(rule.ports).includes(one)),
          );
          expect(isLetIn, `${source?.name} to ${target?.name}`).toBe(true);
        }
      }
    }
    for (const { name, spec } of workloads) {
      const own = policies.filter((one) => matches(one.spec.podSelector.matchLabels, spec.template.metadata.labels));
      expect(own, name).toHaveLength(1);
    }
  });

  it('finds every volume, Secret, ConfigMap and account', () => {
    const maps = manifests.filter(({ kind }) => kind === 'ConfigMap').map(({ metadata }) => metadata.name);
    const accounts = manifests.filter(({ kind }) => kind === 'ServiceAccount').map(({ metadata }) => metadata.name);
    for (const { name, spec } of workloads) {
      const { volumes, containers, serviceAccountName } = spec.template.spec;
      const known = [...volumes, ...spec.volumeClaimTemplates.map(({ metadata }) => metadata)].map((one) => one.name);
      expect([...new Set(containers[0].volumeMounts.map((one) => one.name))].sort(), name).toEqual(known.sort());
      for (const { secret, configMap } of volumes) {
        const wanted = secret?.secretName ?? configMap?.name;
        if (wanted !== undefined) expect([...files.keys()], name).toContain(wanted);
      }
      for (const { configMapRef } of containers[0].envFrom) expect(maps).toContain(configMapRef.name);
      expect(accounts, name).toContain(serviceAccountName);
    }
    for (const set of workloads) {
      const names = set.spec.serviceName === undefined ? [set.name] : podsOf(set);
      for (const { mountPath, subPath, subPathExpr } of containerOf(set).volumeMounts) {
        if ((subPath ?? subPathExpr) === undefined) continue;
        for (const pod of names) expect(mountedFile(set, pod, mountPath)).not.toBe('');
      }
    }
  });

  it('gives every server an environment that the services accept, and no variable that they do not know', () => {
    const craft = find(sets, 'craft');
    const { env, envFrom } = containerOf(craft);
    const settings = manifests.find(
      ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === envFrom[0]?.configMapRef.name,
    );
    const servers = podsOf(craft);
    for (const [ordinal, server] of servers.entries()) {
      const environment: Record<string, string> = {
        ...variablesOf(mountedFile(craft, server, '/run/secrets/nats.env')),
        ...variablesOf(mountedFile(craft, server, '/run/secrets/server.env')),
        ...settings?.data,
        ...Object.fromEntries(env.map((one) => [one.name, 'value' in one ? one.value : server])),
      };
      expect(Object.keys(environment).filter((name) => !knownVariables().has(name))).toEqual([]);
      const replica = replicaConfig(environment);
      expect(replica).toMatchObject({ server, servers, groups: servers.length, registryReplicas: 3 });
      expect(new URL(applierConfig(environment).databaseUrl).host).toBe(`postgres-${ordinal}.postgres:5432`);
      expect(replica.natsUrl.split(',').map((url) => url.replace(/^.*@/, ''))).toEqual(
        podsOf(find(sets, 'nats')).map((pod) => `${pod}.nats:4222`),
      );
    }
    const dockerfile = read('deploy/compose/Dockerfile');
    expect(find(containerOf(craft).ports, 'metrics').containerPort).toBe(Number(/EXPOSE (\d+)/.exec(dockerfile)?.[1]));
    for (const path of ['/data', '/run/secrets/nats.env', '/run/secrets/server.env'])
      expect(dockerfile).toContain(path);
  });

  it('asks the probes that a server has', () => {
    const { startupProbe, livenessProbe, readinessProbe } = containerOf(find(sets, 'craft'));
    expect([startupProbe, livenessProbe, readinessProbe].map((one) => one?.httpGet)).toEqual(
      ['/healthz', '/healthz', '/readyz'].map((path) => ({ path, port: 'metrics' })),
    );
    for (const { name, spec } of sets) {
      const [{ startupProbe, livenessProbe, readinessProbe }] = spec.template.spec.containers;
      for (const one of [startupProbe, livenessProbe, readinessProbe]) expect(one, name).toBeDefined();
    }
  });

  it('gives NATS and Postgres the time to catch up, and an update waits for that', () => {
    const [nats, postgres] = ['nats', 'postgres'].map((name) => find(sets, name));
    const secondsOf = (set: typeof nats) => {
      const { periodSeconds = 0, failureThreshold = 0 } = (set && containerOf(set).startupProbe) ?? {};
      return periodSeconds * failureThreshold;
    };
    expect(secondsOf(nats)).toBe(15 * 60);
    expect(secondsOf(postgres)).toBe(30 * 60);
    expect(nats?.spec['minReadySeconds']).toBe(10);
    const asked = nats && containerOf(nats);
    // All of its health, streams included, at the start alone: a server that runs is not ended
    // because a stream lags.
    expect(asked?.startupProbe?.exec?.command.at(-1)).toMatch(/\/healthz$/);
    expect(asked?.livenessProbe?.exec?.command.at(-1)).toMatch(/\/healthz\?js-enabled-only=true$/);
  });

  it('starts each NATS server with the file that is written for it', () => {
    const nats = find(sets, 'nats');
    const { args, ports, volumeMounts, readinessProbe } = containerOf(nats);
    for (const pod of podsOf(nats)) {
      const path = args.at(-1)?.replace('$(POD_NAME)', pod) ?? '';
      expect(volumeMounts.find(({ name }) => name === 'config')?.mountPath).toBe(dirname(path));
      const file = readFileSync(join(written.path, files.get('nats-config')?.get(basename(path)) ?? ''), 'utf8');
      expect(file).toContain(`server_name: "${pod}"`);
      expect(volumeMounts.find(({ name }) => name === 'data')?.mountPath).toBe(/store_dir: "([^"]+)"/.exec(file)?.[1]);
      const listens = [...file.matchAll(/^ *listen: "0\.0\.0\.0:(\d+)"$/gm)].map(([, number]) => Number(number));
      expect(listens).toEqual(ports.map(({ containerPort }) => containerPort));
      expect(readinessProbe?.exec?.command.at(-1)).toContain(/^http: "([^"]+)"$/m.exec(file)?.[1] ?? 'none');
      for (const other of podsOf(nats)) expect(file).toContain(`@${other}.nats:6222"`);
    }
  });

  it('gives containers no variables for services: that of craft-metrics would be taken for CRAFT_METRICS_PORT', () => {
    for (const { name, spec } of workloads) expect(spec.template.spec.enableServiceLinks, name).toBe(false);
  });

  it('gives containers no rights: the restricted level of the pod security standards', () => {
    for (const { name, spec } of workloads) {
      const { securityContext: ofPod, containers, automountServiceAccountToken } = spec.template.spec;
      expect(ofPod, name).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
      expect(containers[0].securityContext, name).toEqual({
        ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
      });
      expect(automountServiceAccountToken, name).toBe(false);
    }
    const [namespace] = manifests.filter(({ kind }) => kind === 'Namespace');
    expect(namespace?.metadata.labels).toEqual({ 'pod-security.kubernetes.io/enforce': 'restricted' });
  });

  it('names images by version, those of the compose file, and has no secret in a manifest', () => {
    const compose = read('deploy/compose/compose.yaml');
    for (const { image } of workloads.map(containerOf)) {
      if (image !== 'craft') expect(compose).toContain(`image: ${image}\n`);
    }
    const { images } = kustomization.parse(parse(read(`${folder}/example/kustomization.yaml`)));
    const { version } = JSON.parse(read('package.json'));
    expect(images).toMatchObject([{ name: 'craft', newTag: version }]);
    expect(manifests.some(({ kind }) => kind === 'Secret')).toBe(false);
    expect(read('.gitignore').split('\n')).toContain(`${folder}/example/secrets/`);
  });

  it('has metrics scraped under the name that the alerts expect', () => {
    const [monitor] = load(`${folder}/monitoring`).manifests;
    const wanted = z.strictObject({
      selector,
      endpoints: z.tuple([z.strictObject({ port: z.string(), interval: z.string() })]),
    });
    const { selector: of, endpoints } = wanted.parse(monitor?.spec);
    const found = services.filter((one) => matches(of.matchLabels, one.labels));
    expect(found.map(({ name }) => name)).toEqual(['craft']);
    expect(found[0]?.spec.ports.map(({ name }) => name)).toContain(endpoints[0].port);
    expect(read('deploy/prometheus/alerts.yaml')).toContain('up{job="craft"}');
  });

  it('has a guide with a pod for craft recover, which the namespace lets in and which has the volume of a server', () => {
    const craft = find(sets, 'craft');
    const { containers, volumes, ...pod } = craft.spec.template.spec;
    const guide = read(`${folder}/README.md`);
    const [, text = ''] = /^ *```yaml\n( *apiVersion: v1\n *kind: Pod\n[\s\S]*?)^ *```$/m.exec(guide) ?? [];
    const given = z
      .looseObject({
        spec: z.looseObject({
          securityContext: z.looseObject({}),
          containers: z.tuple([container.omit({ resources: true })]),
          volumes: z.tuple([
            z.strictObject({ name: z.string(), persistentVolumeClaim: z.strictObject({ claimName: z.string() }) }),
          ]),
        }),
      })
      .parse(parse(text)).spec;
    expect(given.securityContext).toEqual({ ...pod.securityContext, fsGroupChangePolicy: undefined });
    const [{ image, envFrom, securityContext, volumeMounts }] = given.containers;
    const [built] = kustomization.parse(parse(read(`${folder}/example/kustomization.yaml`))).images;
    expect(image).toBe(`${built?.newName}:${built?.newTag}`);
    expect([envFrom, securityContext]).toEqual([containers[0].envFrom, containers[0].securityContext]);
    const [claim] = craft.spec.volumeClaimTemplates;
    expect(given.volumes[0].persistentVolumeClaim.claimName).toBe(`${claim?.metadata.name}-${podsOf(craft)[0]}`);
    expect(containers[0].volumeMounts).toContainEqual({ ...volumeMounts[0], name: claim?.metadata.name });
  });

  it('has a guide that names every Secret and every key', () => {
    const guide = read(`${folder}/README.md`);
    for (const [name, keys] of files) {
      expect(guide).toContain(`\`${name}\``);
      for (const key of keys.keys()) expect(guide, key).toContain(`\`${key.replace(/-\d/, '-N')}\``);
    }
  });
});
