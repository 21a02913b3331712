// The client of the API that all pages use. It knows the API's own OpenAPI document, by the types that are made from it, and
// nothing besides.

import createClient from 'openapi-fetch';
import type { components, paths } from './api-types.ts';
import { noteConnection } from './connection.ts';

type Schemas = components['schemas'];
export type Comparison = Schemas['Comparison'];
export type Preference = Schemas['Preference'];
export type Queue = Schemas['Queue'];
export type QueueProgress = Schemas['QueueProgress'];
export type Reservation = Schemas['Reservation'];
export type Session = Schemas['Session'];
export type Policy = Schemas['Policy'];
export type Round = Schemas['Round'];
export type Canary = Schemas['Canary'];
export type Loop = Schemas['Loop'];
export type Prompt = Reservation['prompt'];
export type Choice = NonNullable<Reservation['choice']>;
export type Strength = NonNullable<Reservation['strength']>;

export const api = createClient<paths>({ baseUrl: location.origin });

/** What the API, or the way to it, answered instead of a result: `message` in the API's words. */
export class ApiError extends Error {
  /** 0: there was no response */
  readonly status: number;
  readonly code: string | null;

  constructor(message: string, status: number, code: string | null) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** Whether the same request may succeed later. */
  get isTransient(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** The result of a request. Throws an ApiError. */
export async function ask<T>(request: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await request;
  } catch (error) {
    // A request that its page took back says nothing about the server.
    if (!(error instanceof DOMException && error.name === 'AbortError')) noteConnection(true);
    throw new ApiError(error instanceof Error ? error.message : String(error), 0, null);
  }
  noteConnection(false);
  if (answer.response.ok) return answer.data as T;
  throw toApiError(answer.error, answer.response.status);
}

/** The data of a server-sent event, which is an error's if what streams has failed: then it is the last one. */
export function parseEvent<Event>(data: string): Event | ApiError {
  const event = JSON.parse(data) as Event | { error: unknown };
  return typeof event === 'object' && event !== null && 'error' in event ? toApiError(event, 500) : (event as Event);
}

export function toApiError(body: unknown, status: number): ApiError {
  const { message, code = null } = (body as { error?: { message?: string; code?: string | null } } | null)?.error ?? {};
  return new ApiError(message ?? `HTTP ${status}`, status, code);
}
