// What <attune-compare> asks the API for, with the short-lived token that the product's backend made for it.

export type Choice = 'a' | 'b' | 'tie' | 'both_bad';
export type Comparison = {
  id: string;
  prompt: string | { role: string; content: string }[];
  a: { text: string };
  b: { text: string };
};

/** `status`: 0 if there was no answer. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export type Api = ReturnType<typeof openApi>;

export function openApi(base: string, token: string) {
  async function call<T>(method: string, path: string, json?: object): Promise<T> {
    const response = await fetch(new URL(path, base), {
      method,
      credentials: 'omit',
      headers: {
        authorization: `Bearer ${token}`,
        ...(json ? { 'content-type': 'application/json' } : {}),
      },
      ...(json ? { body: JSON.stringify(json) } : {}),
    }).catch((error: unknown) => {
      throw new ApiError(0, 'network_error', String(error));
    });
    const body = await response.json().catch(() => null);
    if (response.ok) return body as T;
    throw new ApiError(response.status, body?.error?.code ?? 'unknown', body?.error?.message ?? response.statusText);
  }
  return {
    getComparison: (id: string) => call<Comparison>('GET', `/v1/comparisons/${encodeURIComponent(id)}`),
    /** `id`: the same one again gives one vote. */
    vote: (vote: { comparison: string; choice: Choice; seconds: number; id: string }) =>
      call<{ id: string }>('POST', '/v1/preferences', vote),
    changeVote: (id: string, choice: Choice) => call('POST', `/v1/preferences/${id}`, { choice }),
    retractVote: (id: string) => call('DELETE', `/v1/preferences/${id}`),
  };
}
