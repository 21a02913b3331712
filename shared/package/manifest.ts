// policy.json: the manifest of a policy package, with its provenance and the SHA-256 of every file. A published package
// never changes, so a file with another digest is damaged and the package is rejected. No file system here, because a
// Worker parses manifests too; files.ts reads and writes folders.
import { z } from 'zod';
import { intervalSchema } from '../database/round-types.ts';
import { AttuneError } from '../error.ts';
import { architectureSchema } from '../model/architecture.ts';
import { isRewardId, PACKAGE_KINDS } from '../package-kind.ts';
import { PRECISION_NAMES } from '../precision-name.ts';

export const MANIFEST_FILE = 'policy.json';

const count = z.int().nonnegative();
const digest = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in hex');

/** How far a precision is from float32, measured by publish/precision-report.ts. */
const precisionReportSchema = z.object({
  /** exp of the mean negative log-probability of the text. */
  perplexity: z.number(),
  /** Share of positions with the same top-1 token as float32. */
  greedy_agreement: z.number(),
  /** Mean KL(float32 ‖ this precision) of the next-token distributions, in nats. */
  kl: z.number(),
  tokens: count,
});

/** A manifest may come from an untrusted source: no path may leave the package's folder. */
const path = z
  .string()
  .refine((p) => !/^\/|\\|:|\0/.test(p) && p.split('/').every((part) => part !== '' && part !== '..' && part !== '.'), {
    error: 'expected a path inside the package',
  });

export const manifestSchema = z.object({
  format: z.literal(1),
  kind: z.enum(PACKAGE_KINDS).default('policy'),
  id: z.string().min(1),
  /** The policy that training started from; null for an imported one. */
  parent: z.string().nullable(),
  /** The root: the first policy of the line, from which drift is measured; null for an imported one, which is its own. */
  reference: z.string().nullable(),
  name: z.string(),
  objective: z.looseObject({ type: z.string() }).nullable(),
  /** The round's preference pairs: their number, and a digest of their ids and texts. */
  pairs: z.object({ count, digest: z.string() }).nullable(),
  metrics: z.record(z.string(), z.number()),
  /** 95% intervals of some of the metrics; of a reward, which no gate decides about. */
  intervals: z.record(z.string(), intervalSchema).optional(),
  architecture: architectureSchema,
  tokenizer_hash: digest,
  /** Precision of the serving graph, and the report of each precision that was measured. */
  serving: z
    .object({
      precision: z.enum(PRECISION_NAMES),
      accuracy: z.partialRecord(z.enum(PRECISION_NAMES), precisionReportSchema),
    })
    .default({ precision: 'fp32', accuracy: {} }),
  /** Every file except policy.json, by its path with forward slashes. */
  files: z.record(path, z.object({ sha256: digest, bytes: count })),
  created_at: z.iso.datetime(),
  /** Human-readable origin: `hf.co/OWNER/NAME@commit`, `round_…`. */
  source: z.string(),
  license: z.string().optional(),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type PrecisionReport = z.infer<typeof precisionReportSchema>;

/** Throws AttuneError if the text is not a manifest of this format. */
export function parseManifest(text: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw invalidPolicy(`${MANIFEST_FILE} is not JSON; fetch or publish the policy again`);
  }
  const parsed = manifestSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'manifest'}: ${message}`);
  throw invalidPolicy(
    `${MANIFEST_FILE} is invalid: ${problems.join('; ')}; a newer version of Attune may have written it`,
  );
}

export function formatManifest(manifest: Manifest): string {
  const parsed = manifestSchema.safeParse(manifest);
  if (!parsed.success)
    throw new Error(`internal: manifest of ${manifest.id} is invalid: ${z.prettifyError(parsed.error)}`);
  return `${JSON.stringify(parsed.data, null, 2)}\n`;
}

export function isPackagePath(name: string): boolean {
  return path.safeParse(name).success;
}

export function invalidPolicy(problem: string): AttuneError {
  return new AttuneError(`policy package: ${problem}`, { code: 'invalid_policy' });
}

/** A file of a package does not match its manifest. */
export function damagedPolicy(id: string, problem: string): AttuneError {
  const message = `policy ${id}: ${problem}; fetch or publish the policy again`;
  return new AttuneError(message, { status: 500, code: 'damaged_policy', retry: false });
}

/** A reward where a policy is needed. Throws `reward_not_policy`. */
export function refuseReward(id: string): void {
  if (!isRewardId(id)) return;
  throw new AttuneError(
    `${id} is a reward, not a policy: it scores responses, and cannot generate them or become active; name a policy (GET /v1/models lists them)`,
    { param: 'model', code: 'reward_not_policy' },
  );
}

/** No policy has this id. Here, and not in store/registry.ts, so that the engine does not load the database driver. */
export function unknownPolicy(id: string, param = 'model'): AttuneError {
  return new AttuneError(`there is no policy ${id}; GET /v1/models or \`attune policies list\` lists the policies`, {
    status: 404,
    param,
    code: 'model_not_found',
  });
}
