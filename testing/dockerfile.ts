// Reads a Dockerfile as far as the tests of ours need: its instructions, each with its stage and its words.

import { readFileSync } from 'node:fs';

export type Instruction = { stage: number; name: string; text: string };

export function readDockerfile(file: string): Instruction[] {
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

/** What the image that runs gets of the project, by the COPY lines of its stage and of those it copies from. */
export function copiedPaths(instructions: Instruction[]): string[] {
  return instructions
    .filter(({ name, text }) => name === 'COPY' && !text.startsWith('--from'))
    .flatMap(({ text }) => text.split(' ').slice(0, -1));
}

/** The last value of every variable that the image that runs is given. */
export function environmentOf(instructions: Instruction[]): Record<string, string> {
  const last = instructions.at(-1)!.stage;
  const words = instructions
    .filter(({ stage, name }) => stage === last && name === 'ENV')
    .flatMap(({ text }) => text.split(' '));
  return Object.fromEntries(words.map((word) => [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]));
}

/** The text of the last instruction of this name in the image that runs. */
export function lastOf(instructions: Instruction[], name: string): string | undefined {
  const last = instructions.at(-1)!.stage;
  return instructions.findLast((item) => item.stage === last && item.name === name)?.text;
}
