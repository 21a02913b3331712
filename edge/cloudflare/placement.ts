// Selects where a request that needs a policy is computed: in this isolate if all of its policies fit, else at INFERENCE_URL,
// else in the container. A request for an unknown policy is not forwarded: the local route rejects it.

import { eq } from 'drizzle-orm';
import type { Context } from 'hono';
import { z } from 'zod';
import { queues } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import { isRewardId } from '../../shared/package-kind.ts';
import type { Settings } from '../../shared/settings.ts';
import { findRollbackTarget, getManifest } from '../../shared/store/registry.ts';
import { findAssigned, isActiveAlias } from '../canary/select-policy.ts';
import { toErrorResponse } from '../http/errors.ts';
import type { Placement, RequiredPolicy } from '../ports.ts';
import type { Bindings } from './bindings.ts';
import { createContainerUpstream, createUrlUpstream, FORWARDED_HEADER, forwardTo, type Upstream } from './forward.ts';
import type { LocalPolicies } from './local-policies.ts';
import type { RequestPolicies } from './request-policies.ts';
import { getServingBytes } from './serving-package.ts';

export type InferenceBackends = {
  bindings: Pick<Bindings, 'EDGE'>;
  settings: Settings;
  policies: Pick<LocalPolicies, 'findUnsupportedReason' | 'load'>;
};

/** Where policies can be computed together, and why. Throws `no_inference_backend` if there is no place. */
export function selectPlacement({ bindings, settings, policies }: InferenceBackends, manifests: Manifest[]): Placement {
  const reason = manifests
    .map((manifest) => describeUnsupported(policies, manifest))
    .find((unsupported) => unsupported !== null);
  if (reason === undefined) return { place: 'worker', reason: describeFit(manifests, settings) };
  // wrangler.toml binds a container by default, so an explicit INFERENCE_URL comes first.
  if (settings.INFERENCE_URL) return { place: 'url', reason };
  if (bindings.EDGE) return { place: 'container', reason };
  throw new AttuneError(
    `${reason}, and no other inference backend is configured: bind the container EDGE in wrangler.toml, or set INFERENCE_URL to an Attune on the same Postgres and policy store`,
    { status: 503, code: 'no_inference_backend', retry: false },
  );
}

/** Where the request is computed, with the response if it was computed elsewhere or failed before its route. */
export async function placeRequest(
  backends: InferenceBackends,
  requestPolicies: RequestPolicies,
  context: Context,
  needsPolicy: RequiredPolicy,
): Promise<Placement & { response?: Response }> {
  const needed = await findNeeded(requestPolicies, context, needsPolicy);
  if (!needed) return { place: 'worker', reason: 'the request needs no policy' };
  const { manifests, selected } = needed;
  /** Whether another policy takes the place of one that the request does not name. */
  const fallBack = (id: string | undefined, error: unknown) =>
    id !== undefined && selected.has(id) && error instanceof AttuneError && requestPolicies.fallBack(id, error);
  const placeAgain = () => placeRequest(backends, requestPolicies, context, needsPolicy);
  let placement: Placement;
  try {
    placement = selectPlacement(backends, manifests);
  } catch (error) {
    // There is a place for the active policy alone.
    if (fallBack(needed.candidateId, error)) return placeAgain();
    throw error;
  }
  try {
    if (placement.place === 'worker') {
      const failure = await load(backends, requestPolicies, manifests);
      if (!failure) return placement;
      if (isLoadFailure(failure.error) && fallBack(failure.id, failure.error)) return placeAgain();
      if (!isWithoutRuntime(failure.error)) throw failure.error;
      placement = selectPlacement(backends, manifests);
    }
    const upstream = selectUpstream(backends, placement, context);
    const response = await forwardTo(upstream, context, {
      timeoutSeconds: backends.settings.REQUEST_TIMEOUT,
      // If the response to a rollback is lost, a retry without an idempotency key would roll back one more policy.
      isRetrySafe: needsPolicy !== 'previous' || context.get('idempotentRequest') !== undefined,
    });
    // A promotion, rollback or canary that was forwarded takes effect here at once too.
    if (needsPolicy === 'path' || needsPolicy === 'previous') requestPolicies.active.invalidate();
    return { ...placement, response };
  } catch (error) {
    return { ...placement, response: toErrorResponse(context, error) };
  }
}

/** Whether the policy itself cannot be loaded, as opposed to a lack of memory for it now. */
function isLoadFailure(error: unknown): boolean {
  return error instanceof AttuneError && LOAD_FAILURES.has(error.code ?? '');
}

const LOAD_FAILURES = new Set(['model_not_found', 'damaged_policy', 'policy_unusable', 'policy_store_unreachable']);

/** The runtime does not start here, after which every policy is unsupported here. */
function isWithoutRuntime(error: unknown): boolean {
  return error instanceof AttuneError && error.code === 'runtime_unavailable';
}

/** Loads the policies; which one failed, and why, if one did. */
async function load(
  { policies }: InferenceBackends,
  { active }: RequestPolicies,
  manifests: Manifest[],
): Promise<{ id: string; error: unknown } | null> {
  for (const manifest of manifests) {
    const { id } = manifest;
    try {
      await policies.load(manifest);
    } catch (error) {
      return { id, error };
    }
    active.markLoaded(id);
  }
  return null;
}

function selectUpstream({ bindings, settings }: InferenceBackends, { place }: Placement, context: Context): Upstream {
  if (place === 'container') return createContainerUpstream(bindings.EDGE!, settings.CONTAINERS);
  if (context.req.header(FORWARDED_HEADER) === undefined) return createUrlUpstream(settings.INFERENCE_URL!);
  throw new AttuneError(
    'INFERENCE_URL points to a Worker that cannot compute this request either; set it to an Attune on Node',
    { status: 508, code: 'forwarding_loop', retry: false },
  );
}

/** `selected`: those that the request does not name: the active one, and `candidateId`, of a canary. */
type NeededPolicies = { manifests: Manifest[]; selected: Set<string>; candidateId?: string | undefined };

/** Null if the request needs none, or an unknown one. */
async function findNeeded(
  requestPolicies: RequestPolicies,
  context: Context,
  needsPolicy: RequiredPolicy,
): Promise<NeededPolicies | null> {
  try {
    const named = await readPolicies(requestPolicies, context, needsPolicy);
    if (!named) return null;
    const { ids, candidateId } = named;
    const manifests = await Promise.all(ids.map((id) => requestPolicies.getManifest(id)));
    const selected = new Set(
      manifests.map(({ id }) => id).filter((id, at) => isActiveAlias(ids[at]) || id === candidateId),
    );
    const reference = named.reference === undefined ? manifests[0]!.reference : named.reference;
    if (named.needsReference && reference !== null) manifests.push(await requestPolicies.getManifest(reference));
    if (named.reward !== undefined) manifests.push(await getManifest(requestPolicies.db, named.reward));
    return { manifests, selected, candidateId };
  } catch (error) {
    if (error instanceof AttuneError) return null;
    throw error;
  }
}

const modelName = z.string().refine((text) => !text.includes('\0'));
/** What says who asks and about what is read as it is: the route refuses what is wrong with it. */
const bodySchema = z.object({
  user: z.unknown().optional(),
  messages: z.unknown().optional(),
  prompt: z.unknown().optional(),
  model: modelName.optional(),
  models: z.tuple([modelName, modelName]).optional(),
  reference: modelName.nullish(),
  reward: modelName.optional(),
  ranker: modelName.nullish(),
});

/** `ids`: undefined for the active policy; `reference`: default: the root of the policy's line; null: none. */
type NamedPolicies = {
  ids: (string | undefined)[];
  /** the one of them that a canary has selected */
  candidateId?: string | undefined;
  needsReference?: boolean;
  reference?: string | null | undefined;
  reward?: string | undefined;
};

/** Null if the body is invalid. */
async function readPolicies(
  requestPolicies: RequestPolicies,
  context: Context,
  needsPolicy: RequiredPolicy,
): Promise<NamedPolicies | null> {
  const { db } = requestPolicies;
  if (needsPolicy === 'path') return { ids: [context.req.param('id')!.replaceAll('\0', '')] };
  if (needsPolicy === 'previous') return { ids: [(await findRollbackTarget(db)).previous.policy_id] };
  if (needsPolicy === 'queue') return listQueuePolicies(requestPolicies, context.req.param('id')!.replaceAll('\0', ''));
  let json: unknown;
  try {
    json = JSON.parse(await context.req.text());
  } catch {
    return null;
  }
  const { data } = bodySchema.safeParse(json);
  if (!data) return null;
  const { models, model, reference, ranker } = data;
  if (needsPolicy === 'sides') return models ? { ids: models } : listSides(requestPolicies, model);
  const reward = data.reward ?? (ranker && isRewardId(ranker) ? ranker : undefined);
  const needsReference = needsPolicy === 'body and reference' || ranker === 'log_ratio';
  const canary = needsPolicy === 'body' && isActiveAlias(model) ? await requestPolicies.getCanary() : null;
  const candidateId = canary ? findAssigned(canary, context, data) : undefined;
  return { ids: [candidateId ?? model], candidateId, needsReference, reference, reward };
}

/** Undefined stands for the active policy, which a canary's candidate is compared with. */
async function listSides(requestPolicies: RequestPolicies, model: string | undefined): Promise<NamedPolicies> {
  const candidateId = isActiveAlias(model) ? (await requestPolicies.getCanary())?.policyId : undefined;
  return { ids: candidateId === undefined ? [model] : [model, candidateId], candidateId };
}

async function listQueuePolicies(requestPolicies: RequestPolicies, id: string): Promise<NamedPolicies> {
  const [queue] = await requestPolicies.db.select({ settings: queues.settings }).from(queues).where(eq(queues.id, id));
  const pairing = queue?.settings.pairing ?? { type: 'same' };
  if (pairing.type === 'policies') return { ids: pairing.policies };
  if (pairing.type === 'given') return { ids: [pairing.policy] };
  return listSides(requestPolicies, pairing.type === 'same' ? pairing.policy : undefined);
}

function describeUnsupported(
  policies: Pick<LocalPolicies, 'findUnsupportedReason'>,
  manifest: Manifest,
): string | null {
  const reason = policies.findUnsupportedReason(manifest);
  return reason && `policy ${manifest.id}: ${reason}`;
}

function describeFit(manifests: Manifest[], { WORKER_POLICY_BYTES }: Settings): string {
  const bytes = Math.max(...manifests.map(getServingBytes));
  return `${formatMiB(bytes)} of weights fit in WORKER_POLICY_BYTES of ${formatMiB(WORKER_POLICY_BYTES)}`;
}

function formatMiB(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1).replace('.0', '')} MiB`;
}
