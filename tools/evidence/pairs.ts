// Real preferences out of a file, as the study needs them: held out by the hash of the prompt, as a round does it; of
// the others some prepare the reference and the rest is what the runs draw their training pairs from.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { parsePreferences } from '../../shared/preferences/import.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { isHeldOut } from '../../trainer/data/pairs.ts';
import type { Sequence } from '../../trainer/engine/engine.ts';
import { shuffle } from '../../trainer/stages/lr-schedule.ts';
import type { StudyPlan } from './plan.ts';

export type TokenPair = { chosen: Sequence; rejected: Sequence };

export type Material = {
  prepare: TokenPair[];
  /** What the runs draw from; no smaller than what one of them trains on. */
  train: TokenPair[];
  heldOut: TokenPair[];
  /** Strict preferences in the file, those that are short enough, and rows that could not be read. */
  counts: { read: number; short: number; refused: number };
  /** Of the tokens: what other runs must agree on to be compared. */
  digest: string;
};

const HELD_OUT = 0.2;

export async function readMaterial(
  file: string,
  tokenizer: Tokenizer,
  architecture: Architecture,
  plan: StudyPlan,
): Promise<Material> {
  const counts = { read: 0, short: 0, refused: 0 };
  const train: TokenPair[] = [];
  const heldOut: TokenPair[] = [];
  const most = Math.min(plan.maxLength, architecture.contextLength);
  await stat(file).catch(() => {
    throw new AttuneError(`evidence: --pairs ${file} is not there; give a file that attune preferences import reads`);
  });
  for await (const item of parsePreferences(createReadStream(file))) {
    if ('error' in item) {
      counts.refused++;
      continue;
    }
    const { prompt, a, b, choice } = item.record;
    if (choice !== 'a' && choice !== 'b') continue;
    counts.read++;
    // stories15M has no template of its own; a blank line is what parts an instruction from its answer.
    const text = typeof prompt === 'string' ? prompt : tokenizer.renderChat(prompt, { addGenerationPrompt: true });
    const encode = (response: string) => tokenizer.encodePair(`${text}\n\n`, response, { eos: true });
    const [chosen, rejected] = choice === 'a' ? [encode(a), encode(b)] : [encode(b), encode(a)];
    if (Math.max(...[chosen, rejected].map((s) => s.promptIds.length + s.responseIds.length)) > most) continue;
    counts.short++;
    (await isHeldOut(prompt, HELD_OUT)) ? heldOut.push({ chosen, rejected }) : train.push({ chosen, rejected });
  }
  const order = shuffle(train.length, 0).map((at) => train[at]!);
  const material = {
    prepare: order.slice(0, plan.preparePairs),
    train: order.slice(plan.preparePairs),
    heldOut: shuffle(heldOut.length, 0)
      .slice(0, plan.heldOutPairs)
      .map((at) => heldOut[at]!),
  };
  const needed = plan.preparePairs + plan.trainPairs;
  if (material.train.length < plan.trainPairs || material.heldOut.length === 0)
    throw new AttuneError(
      `evidence: ${file} has ${counts.short} strict preferences of at most ${most} tokens, ${train.length} of them not held out; ${needed} are needed`,
    );
  return { ...material, counts, digest: await hashContent(material) };
}
