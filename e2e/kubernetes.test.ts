// The Kubernetes manifests: valid against the Kubernetes schemas, and consistent with the images and the settings.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { DRAIN_TIMEOUT_MS } from '../edge/node.ts';
import { describeSettings, readSettings } from '../shared/settings.ts';
import { findLastInstruction, getEnvironment, parseDockerfile } from '../testing/dockerfile.ts';
import type { Json } from '../testing/edge-server.ts';
import { installTool } from '../testing/install-tool.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FOLDER = path.join(ROOT, 'docs', 'kubernetes');
const KUBERNETES = '1.37.0';

const parse = (text: string): Json[] => parseAllDocuments(text).map((document) => document.toJS());
const [kustomization] = parse(readFileSync(path.join(FOLDER, 'kustomization.yaml'), 'utf8')) as [Json];
const manifests: Json[] = kustomization.resources.flatMap((name: string) =>
  parse(readFileSync(path.join(FOLDER, name), 'utf8')),
);
const find = (kind: string, name: string): Json =>
  manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);

const deployment = find('Deployment', 'attune-edge');
const cronJob = find('CronJob', 'attune-trainer');
const edge = deployment.spec.template.spec;
const trainer = cronJob.spec.jobTemplate.spec.template.spec;

const kubeconform = installTool({
  name: 'kubeconform',
  from: { go: 'github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0' },
});
const kustomize = installTool({ name: 'kustomize', from: { go: 'sigs.k8s.io/kustomize/kustomize/v5@v5.8.1' } });
// Only its strict Kubernetes schemas are used, which reject unknown fields.
const schemas = installTool({ name: 'kubernetes-validate', from: { pip: `kubernetes-validate==${KUBERNETES}` } });
const missing = [kubeconform, kustomize, schemas].flatMap((tool) => ('missing' in tool ? [tool.missing] : []));
const pathOf = (tool: typeof schemas) => (tool as { path: string }).path;

/** kubeconform needs each kind's schema in one self-contained file. */
function writeSchemas(kinds: { apiVersion: string; kind: string }[]): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'attune-schemas-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const source = path.join(
    ...[path.dirname(path.dirname(pathOf(schemas))), 'kubernetes_validate', 'kubernetes-json-schema'],
    `v${KUBERNETES}-local-strict`,
  );
  const read = (name: string) => readFileSync(path.join(source, `${name}.json`), 'utf8');
  const { $defs } = JSON.parse(read('_definitions')) as Json;
  for (const { apiVersion, kind } of kinds) {
    const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : [null, apiVersion];
    const name = [kind.toLowerCase(), group?.split('.')[0], version].filter(Boolean).join('-');
    const { $id: _, ...schema } = JSON.parse(read(name).replaceAll('/api/_definitions.json#', '#')) as Json;
    writeFileSync(path.join(folder, `${name}.json`), JSON.stringify({ ...schema, $defs }));
  }
  return folder;
}

test('kustomize builds all manifests, and each passes strict schema validation', {
  skip: missing.length > 0 && missing.join('; '),
}, () => {
  const built = spawnSync(pathOf(kustomize), ['build', FOLDER], { encoding: 'utf8' });
  assert.equal(built.status, 0, built.stderr);
  assert.ok(built.stdout.includes('image: registry.example.com/attune-edge:'));
  const folder = writeSchemas(manifests);
  const validate = (text: string) =>
    spawnSync(
      pathOf(kubeconform),
      ['-strict', '-summary', '-schema-location', `${folder}/{{.ResourceKind}}{{.KindSuffix}}.json`, '-'],
      { input: text, encoding: 'utf8' },
    );
  const { status, stdout } = validate(built.stdout);
  assert.equal(status, 0, stdout);
  assert.match(stdout, new RegExp(`Valid: ${manifests.length}, Invalid: 0, Errors: 0, Skipped: 0`));

  const misspelt = validate(built.stdout.replace('readOnlyRootFilesystem', 'readOnlyRootFileSystem'));
  assert.equal(misspelt.status, 1);
  assert.match(misspelt.stdout, /'readOnlyRootFileSystem' not allowed/);
  assert.match(
    validate(built.stdout.replace('maxReplicas: 10', 'maxReplicas: "10"')).stdout,
    /got string, want integer/,
  );
});

test('every setting in the manifests exists, and together they are valid', () => {
  const known = new Set(describeSettings().map(({ name }) => name));
  const { data } = find('ConfigMap', 'attune');
  for (const name of Object.keys(data)) assert.ok(known.has(name), name);
  for (const { containers } of [edge, trainer]) {
    const [{ envFrom }] = containers;
    assert.deepEqual(envFrom, [{ configMapRef: { name: 'attune' } }, { secretRef: { name: 'attune' } }]);
    readSettings({ ...data, ...SECRETS });
  }
});

const SECRETS: Record<string, string> = {
  DATABASE_URL: 'postgres://attune:secret@postgres:5432/attune',
  API_KEY: 'sk-a-key-of-some-length',
  AWS_ACCESS_KEY_ID: 'id',
  AWS_SECRET_ACCESS_KEY: 'secret',
};

for (const [file, pod] of [
  ['edge/Dockerfile', edge],
  ['trainer/Dockerfile', trainer],
] as const) {
  test(`the Pod of ${file} matches its image`, () => {
    const instructions = parseDockerfile(path.join(ROOT, file));
    const [container] = pod.containers;
    assert.ok(
      readFileSync(path.join(ROOT, file), 'utf8').includes(`-t ${container.image} .`),
      'the image name is the one in the build instructions',
    );
    assert.ok(kustomization.images.some(({ name }: Json) => name === container.image));
    const { runAsUser, runAsGroup, fsGroup, runAsNonRoot } = pod.securityContext;
    assert.equal(`${runAsUser}:${runAsGroup}`, findLastInstruction(instructions, 'USER'));
    assert.deepEqual({ fsGroup, runAsNonRoot }, { fsGroup: runAsGroup, runAsNonRoot: true });
    assert.equal(container.securityContext.readOnlyRootFilesystem, true);
    const mounts = container.volumeMounts.map(({ mountPath }: Json) => mountPath);
    assert.ok(mounts.includes(getEnvironment(instructions).ATTUNE_HOME), 'ATTUNE_HOME is a volume');
    assert.deepEqual(
      container.volumeMounts.map(({ name }: Json) => name).sort(),
      pod.volumes.map(({ name }: Json) => name).sort(),
    );
  });
}

test('probes use the port of the edge, and the grace period covers the drain timeout', () => {
  const [container] = edge.containers;
  const port = findLastInstruction(parseDockerfile(path.join(ROOT, 'edge/Dockerfile')), 'EXPOSE');
  assert.deepEqual(container.ports, [{ name: 'http', containerPort: Number(port) }]);
  for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'])
    assert.equal(container[probe].httpGet.port, 'http');
  assert.equal(container.readinessProbe.httpGet.path, '/health');
  assert.equal(container.livenessProbe.httpGet.path, '/status', 'an unreachable Postgres must not restart the Pod');
  const pause = Number(container.lifecycle.preStop.exec.command[1]);
  assert.ok(edge.terminationGracePeriodSeconds >= pause + DRAIN_TIMEOUT_MS / 1000 + 5);
});

test('service, autoscaler and disruption budget select the edge Pods', () => {
  const labels = deployment.spec.template.metadata.labels;
  const service = find('Service', 'attune-edge');
  for (const selector of [
    deployment.spec.selector.matchLabels,
    service.spec.selector,
    find('PodDisruptionBudget', 'attune-edge').spec.selector.matchLabels,
  ])
    for (const [name, value] of Object.entries(selector)) assert.equal(labels[name], value);
  assert.equal(service.spec.ports[0].targetPort, edge.containers[0].ports[0].name);
  const { apiVersion, kind, name } = find('HorizontalPodAutoscaler', 'attune-edge').spec.scaleTargetRef;
  assert.equal(find(kind, name).apiVersion, apiVersion);
  assert.equal(deployment.spec.replicas, undefined, 'replicas would override the autoscaler on every apply');
});

test('one trainer at a time, with one GPU, runs due rounds', () => {
  assert.equal(cronJob.spec.concurrencyPolicy, 'Forbid');
  assert.deepEqual(trainer.containers[0].args, ['--due']);
  assert.equal(trainer.containers[0].resources.limits['nvidia.com/gpu'], 1);
  const [volume] = trainer.volumes.filter(({ persistentVolumeClaim }: Json) => persistentVolumeClaim);
  assert.ok(find('PersistentVolumeClaim', volume.persistentVolumeClaim.claimName));
});

test('every file in the folder is a listed manifest', () => {
  assert.deepEqual(readdirSync(FOLDER).sort(), [...kustomization.resources, 'kustomization.yaml'].sort());
});
