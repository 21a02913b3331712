// Parses a Dockerfile into its instructions, each with its build stage, as far as the tests need it.

import { readFileSync } from 'node:fs';

type Instruction = { stage: number; name: string; text: string };

export function parseDockerfile(file: string): Instruction[] {
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => !/^\s*(#|$)/.test(line))
    .join('\n')
    .replaceAll(/\s*\\\n\s*/g, ' ')
    .split('\n');
  let stage = -1;
  return lines.map((line) => {
    const [name, text] = [line.split(' ', 1)[0]!, line.slice(line.indexOf(' ') + 1)];
    if (name === 'FROM') stage++;
    return { stage, name, text };
  });
}

/** Paths of the project that COPY instructions put into any stage. */
export function listCopiedPaths(instructions: Instruction[]): string[] {
  return instructions
    .filter(({ name, text }) => name === 'COPY' && !text.startsWith('--from'))
    .flatMap(({ text }) => text.split(' ').slice(0, -1));
}

/** ENV of the last stage. */
export function getEnvironment(instructions: Instruction[]): Record<string, string> {
  const last = instructions.at(-1)!.stage;
  const words = instructions
    .filter(({ stage, name }) => stage === last && name === 'ENV')
    .flatMap(({ text }) => text.split(' '));
  return Object.fromEntries(words.map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]));
}

/** Arguments of the last instruction with this name in the last stage. */
export function findLastInstruction(instructions: Instruction[], name: string): string | undefined {
  const last = instructions.at(-1)!.stage;
  return instructions.findLast((item) => item.stage === last && item.name === name)?.text;
}
