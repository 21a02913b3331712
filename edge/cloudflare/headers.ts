// Headers that a proxy passes on: end-to-end headers (RFC 9110, section 7.6.1), without those that Cloudflare adds for its
// own Workers.

const NOT_FORWARDED = new Set([
  'accept-encoding',
  'connection',
  // The body is passed on decoded, so its encoding and length differ.
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
  const hopByHop = (headers.get('connection') ?? '').split(',').map((name) => name.trim().toLowerCase());
  const kept = [...headers].filter(
    ([name]) => !NOT_FORWARDED.has(name) && !name.startsWith('cf-') && !hopByHop.includes(name),
  );
  return new Headers(kept);
}
