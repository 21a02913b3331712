// Where a request that needs a policy is computed: in this isolate where all of its policies fit, else at INFERENCE_URL,
// else by the container. A request that names no policy that exists is not sent anywhere: the route here refuses it.

import type { Context } from 'hono';
import { z } from 'zod';
import type { Database } from '../../shared/database/connect.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Manifest } from '../../shared/package/manifest.ts';
import type { Settings } from '../../shared/settings.ts';
import { findRollbackTarget } from '../../shared/store/registry.ts';
import { toErrorResponse } from '../http/errors.ts';
import type { Placement, RequiredPolicy } from '../ports.ts';
import type { Bindings } from './bindings.ts';
import { createContainerUpstream, createUrlUpstream, FORWARDED_HEADER, forwardTo, type Upstream } from './forward.ts';
import { getServingBytes } from './load-package.ts';
import type { LocalPolicies } from './local-policies.ts';
import type { RequestPolicies } from './request-policies.ts';

export type PlacementContext = {
  bindings: Pick<Bindings, 'EDGE'>;
  settings: Settings;
  policies: Pick<LocalPolicies, 'findUnsupportedReason' | 'load'>;
};

/** Where policies are computed together, and why. Throws an AttuneError where nobody can. */
export function selectPlacement({ bindings, settings, policies }: PlacementContext, manifests: Manifest[]): Placement {
  const reason = manifests
    .map((manifest) => describeUnsupported(policies, manifest))
    .find((refusal) => refusal !== null);
  if (reason === undefined) return { place: 'worker', reason: describeFit(manifests, settings) };
  // wrangler.toml binds a container unasked; whoever sets the URL means it.
  if (settings.INFERENCE_URL) return { place: 'url', reason };
  if (bindings.EDGE) return { place: 'container', reason };
  throw new AttuneError(
    `${reason}, and no other inference backend is configured: bind the container EDGE in wrangler.toml, or set INFERENCE_URL to an Attune on the same Postgres and policy store`,
    { status: 503, code: 'no_inference_backend', retry: false },
  );
}

/** Where the request is computed; with the answer where that is elsewhere, or where it fails before its route. */
export async function placeRequest(
  site: PlacementContext,
  lookup: RequestPolicies,
  context: Context,
  needsPolicy: RequiredPolicy,
): Promise<Placement & { response?: Response }> {
  const manifests = await findManifests(lookup, context, needsPolicy);
  if (!manifests) return { place: 'worker', reason: 'no policy is needed to answer this' };
  let compute = selectPlacement(site, manifests);
  try {
    if (compute.place === 'worker') {
      if (await canLoad(site, lookup, manifests)) return compute;
      compute = selectPlacement(site, manifests);
    }
    const upstream = selectUpstream(site, compute, context);
    const response = await forwardTo(upstream, context, {
      timeoutSeconds: site.settings.REQUEST_TIMEOUT,
      // A rollback whose response was lost would, sent again, go back one more policy.
      isRetrySafe: needsPolicy !== 'previous',
    });
    // A promotion or a rollback that was made elsewhere shows here at once too.
    if (needsPolicy !== 'body') lookup.active.invalidate();
    return { ...compute, response };
  } catch (error) {
    if (isLoadFailure(error) && (await lookup.fallBack(error))) return placeRequest(site, lookup, context, needsPolicy);
    return { ...compute, response: toErrorResponse(context, error) };
  }
}

/** What is said of a policy that could not be loaded here, other than that there is no room for it now. */
function isLoadFailure(error: unknown): error is AttuneError {
  return error instanceof AttuneError && LOAD_FAILURES.has(error.code ?? '');
}

const LOAD_FAILURES = new Set(['model_not_found', 'damaged_policy', 'policy_unusable', 'policy_store_unreachable']);

/** Whether the runtime starts here, which shows at the first policy; from then on it is a refusal. */
async function canLoad(
  { policies }: PlacementContext,
  { active }: RequestPolicies,
  manifests: Manifest[],
): Promise<boolean> {
  try {
    for (const manifest of manifests) {
      await policies.load(manifest);
      active.markLoaded(manifest.id);
    }
    return true;
  } catch (error) {
    if (error instanceof AttuneError && error.code === 'runtime_unavailable') return false;
    throw error;
  }
}

function selectUpstream({ bindings, settings }: PlacementContext, { place }: Placement, context: Context): Upstream {
  if (place === 'container') return createContainerUpstream(bindings.EDGE!, settings.CONTAINERS);
  if (context.req.header(FORWARDED_HEADER) === undefined) return createUrlUpstream(settings.INFERENCE_URL!);
  throw new AttuneError(
    'INFERENCE_URL leads back to a Worker that cannot compute this either; set it to an Attune that runs on Node',
    { status: 508, code: 'forwarding_loop', retry: false },
  );
}

/** The manifests of the policies that the request needs; null where it needs none, or one that is not there. */
async function findManifests(
  lookup: RequestPolicies,
  context: Context,
  needsPolicy: RequiredPolicy,
): Promise<Manifest[] | null> {
  try {
    const asked = await readPolicies(lookup.db, context, needsPolicy);
    return asked && (await Promise.all(asked.map((id) => lookup.getManifest(id))));
  } catch (error) {
    if (error instanceof AttuneError) return null;
    throw error;
  }
}

const name = z.string().refine((text) => !text.includes('\0'));
const body = z.object({ model: name.optional(), models: z.tuple([name, name]).optional() });

/** Ids, or undefined for the active policy; null where the body does not say. */
async function readPolicies(
  db: Database,
  context: Context,
  needsPolicy: RequiredPolicy,
): Promise<(string | undefined)[] | null> {
  if (needsPolicy === 'path') return [context.req.param('id')!.replaceAll('\0', '')];
  if (needsPolicy === 'previous') return [(await findRollbackTarget(db)).previous.policy_id];
  let json: unknown;
  try {
    json = JSON.parse(await context.req.text());
  } catch {
    return null;
  }
  const { data } = body.safeParse(json);
  return data ? (data.models ?? [data.model]) : null;
}

function describeUnsupported(
  policies: Pick<LocalPolicies, 'findUnsupportedReason'>,
  manifest: Manifest,
): string | null {
  const refusal = policies.findUnsupportedReason(manifest);
  return refusal && `policy ${manifest.id}: ${refusal}`;
}

function describeFit(manifests: Manifest[], { WORKER_POLICY_BYTES }: Settings): string {
  const bytes = Math.max(...manifests.map(getServingBytes));
  return `${formatMegabytes(bytes)} of weights fit in WORKER_POLICY_BYTES of ${formatMegabytes(WORKER_POLICY_BYTES)}`;
}

function formatMegabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1).replace('.0', '')} MB`;
}
