// The names that administrators give, over the API and in commands: of a tenant, of a key, of a rater and of a queue.

import { z } from 'zod';

const MAX_LENGTH = 200;
const TOO_LONG = `is longer than ${MAX_LENGTH} characters; shorten it`;

export const tenantName = z
  .string()
  .regex(/^[\w.-]{1,64}$/, 'give 1 to 64 letters, digits, dots, hyphens or underscores');

export const keyName = z.string().trim().min(1, 'is empty; say what the key is for').max(MAX_LENGTH, TOO_LONG);

export const raterName = z.string().trim().min(1, 'is empty; give the name of a person').max(MAX_LENGTH, TOO_LONG);

export const queueName = z.string().trim().min(1, 'is empty; say what the queue is for').max(MAX_LENGTH, TOO_LONG);
