// Headers that go on with a request or an answer from one connection to the next: all but those of the connection itself,
// and those that Cloudflare adds for its own Workers.

const HOP_BY_HOP = new Set([
  'accept-encoding',
  'connection',
  // What is handed on was decoded, and its length is another.
  'content-encoding',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export function copyEndToEndHeaders(headers: Headers): Headers {
  const named = (headers.get('connection') ?? '').split(',').map((name) => name.trim().toLowerCase());
  const kept = [...headers].filter(
    ([name]) => !HOP_BY_HOP.has(name) && !name.startsWith('cf-') && !named.includes(name),
  );
  return new Headers(kept);
}
