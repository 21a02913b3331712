// policy.json: what a policy package is, where it comes from, and the digest of every file in it. A package never
// changes once published, so a file that does not match its digest is damage, and the package is refused. Knows no file
// system, so that a Worker can read it too; files.ts reads and writes folders.
import { z } from 'zod';
import { AttuneError } from '../error.ts';
import { ACTIVATIONS, FAMILY_NAMES, LLAMA } from '../model/architecture.ts';
import { PRECISION_NAMES } from '../precision-name.ts';

export const MANIFEST_FILE = 'policy.json';

const count = z.int().nonnegative();
const digest = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in hex');

const factor = z.number();
/** Packages from before there were other families than Llama say nothing of the mathematics. */
const architectureSchema = z.object({
  family: z.enum(FAMILY_NAMES).default(LLAMA.family),
  norm: z.enum(['rms', 'layer']).default(LLAMA.norm),
  activation: z.enum(ACTIVATIONS).default(LLAMA.activation),
  gated: z.boolean().default(LLAMA.gated),
  biases: z.object({ qkv: z.boolean(), output: z.boolean(), mlp: z.boolean() }).default(LLAMA.biases),
  queryKeyNorm: z.boolean().default(LLAMA.queryKeyNorm),
  positions: z.enum(['rotary', 'learned']).default(LLAMA.positions),
  rotaryShare: factor.default(LLAMA.rotaryShare),
  ropeScaling: z
    .discriminatedUnion('type', [
      z.object({ type: z.literal('linear'), factor }),
      z.object({
        type: z.literal('llama3'),
        factor,
        lowFrequencyFactor: factor,
        highFrequencyFactor: factor,
        originalContext: count,
      }),
    ])
    .nullable()
    .default(LLAMA.ropeScaling),
  parallelResidual: z.boolean().default(LLAMA.parallelResidual),
  embeddingScale: factor.default(LLAMA.embeddingScale),
  hiddenSize: count,
  intermediateSize: count,
  layers: count,
  heads: count,
  kvHeads: count,
  headDim: count,
  vocabSize: count,
  contextLength: count,
  normEpsilon: z.number(),
  ropeTheta: z.number(),
  tied: z.boolean(),
  bos: count.nullable(),
  eos: z.array(count),
});

const accuracySchema = z.object({
  perplexity: z.number(),
  greedy_agreement: z.number(),
  kl: z.number(),
  tokens: count,
});

/** Paths come from packages that may come from elsewhere: none may lead out of the package's folder. */
const path = z
  .string()
  .refine((p) => !/^\/|\\|:|\0/.test(p) && p.split('/').every((part) => part !== '' && part !== '..' && part !== '.'), {
    error: 'expected a path inside the package',
  });

export const manifestSchema = z.object({
  format: z.literal(1),
  id: z.string().min(1),
  /** The policy that training started from; null for one that was imported. */
  parent: z.string().nullable(),
  /** The frozen policy that the round compared against. */
  reference: z.string().nullable(),
  name: z.string(),
  objective: z.looseObject({ type: z.string() }).nullable(),
  /** The preference pairs of the round: how many, and a digest of their ids and texts. */
  pairs: z.object({ count, digest: z.string() }).nullable(),
  metrics: z.record(z.string(), z.number()),
  architecture: architectureSchema,
  tokenizer_hash: digest,
  /** How the serving graph stores its matrices, and what each precision that was tried keeps of float32. */
  serving: z
    .object({ precision: z.enum(PRECISION_NAMES), accuracy: z.partialRecord(z.enum(PRECISION_NAMES), accuracySchema) })
    .default({ precision: 'fp32', accuracy: {} }),
  /** Every file but policy.json itself, by its path with forward slashes. */
  files: z.record(path, z.object({ sha256: digest, bytes: count })),
  created_at: z.iso.datetime(),
  /** Where it came from, for people: `hf.co/OWNER/NAME@commit`, `round_…`. */
  source: z.string(),
  license: z.string().optional(),
});

export type Manifest = z.infer<typeof manifestSchema>;

/** Throws AttuneError where the text is no manifest of this format. */
export function parseManifest(text: string): Manifest {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw invalidPolicy(`${MANIFEST_FILE} is not JSON; fetch or publish the policy again`);
  }
  const parsed = manifestSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'it'}: ${message}`);
  throw invalidPolicy(
    `${MANIFEST_FILE} is wrong: ${problems.join('; ')}; a newer version of Attune may have written it`,
  );
}

/** The text of policy.json. */
export function formatManifest(manifest: Manifest): string {
  const parsed = manifestSchema.safeParse(manifest);
  if (!parsed.success) throw new Error(`internal: manifest ${manifest.id} is wrong: ${z.prettifyError(parsed.error)}`);
  return `${JSON.stringify(parsed.data, null, 2)}\n`;
}

export function isPackagePath(name: string): boolean {
  return path.safeParse(name).success;
}

export function invalidPolicy(problem: string): AttuneError {
  return new AttuneError(`policy package: ${problem}`, { code: 'invalid_policy' });
}

/** Where a file of a package is not what its manifest says. */
export function damagedPolicy(id: string, problem: string): AttuneError {
  const message = `policy ${id}: ${problem}; fetch or publish the policy again`;
  return new AttuneError(message, { status: 500, code: 'damaged_policy', retry: false });
}
