// Reads an argument or option of a command: by the schema that validates the same field of a request, or as a time.

import { InvalidArgumentError } from 'commander';
import type { z } from 'zod';
import { timeRange } from '../edge/http/time-field.ts';

/** As commander calls it: with the text, whose refusal it prints with the name of the argument. */
export function parseBy<T>(schema: z.ZodType<T>): (text: string) => T {
  return (text) => {
    const { success, data, error } = schema.safeParse(text);
    if (success) return data;
    throw new InvalidArgumentError(error.issues[0]!.message);
  };
}

/** A date is its first moment, in UTC. */
export const parseTime = parseBy(timeRange.since.unwrap());
