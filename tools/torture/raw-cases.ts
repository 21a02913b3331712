// Requests that no HTTP client would send, as bytes on a socket.

export type RawCase = {
  name: string;
  /** Sent one after the other, with `pauseMs` in between. */
  chunks: (string | Buffer)[];
  pauseMs?: number;
  /** Sends FIN after the last chunk, as a client that is gone. */
  isCutOff?: boolean;
  /** Waits for the server's time limits; left out of the quick run. */
  isSlow?: boolean;
  /** How many responses must come; default: one, or a closed connection. */
  responses?: number;
};

const HOST = 'host: localhost\r\n';
const JSON_TYPE = 'content-type: application/json\r\n';

/** A complete POST with this body. */
function post(body: string | Buffer, headers = '', path = '/v1/preferences'): (string | Buffer)[] {
  return [
    `POST ${path} HTTP/1.1\r\n${HOST}${JSON_TYPE}${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n`,
    body,
  ];
}

const get = (path: string, headers = HOST) => `GET ${path} HTTP/1.1\r\n${headers}\r\n`;
const chunked = `POST /v1/preferences HTTP/1.1\r\n${HOST}${JSON_TYPE}transfer-encoding: chunked\r\n`;
const nest = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth);
const preference = (fields: string) => `{"prompt": "p", "chosen": "a", "rejected": "b", ${fields}}`;

const REQUEST_LINES: [string, string][] = [
  ['garbage instead of a request line', 'GARBAGE\r\n\r\n'],
  ['an unknown method', `BREW /status HTTP/1.1\r\n${HOST}\r\n`],
  ['an unknown version', `GET /status HTTP/9.9\r\n${HOST}\r\n`],
  ['no version', 'GET /status\r\n\r\n'],
  ['no host', get('/status', '')],
  ['two hosts', get('/status', `${HOST}host: other\r\n`)],
  ['an absolute URL', get('http://attune/status')],
  ['OPTIONS *', `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`],
  ['CONNECT', `CONNECT example.com:443 HTTP/1.1\r\n${HOST}\r\n`],
  ['TRACE', `TRACE /status HTTP/1.1\r\n${HOST}\r\n`],
  ["HTTP/2's preface", 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['an upgrade to websocket', get('/status', `${HOST}connection: upgrade\r\nupgrade: websocket\r\n`)],
  ['an upgrade to h2c', get('/status', `${HOST}connection: upgrade, http2-settings\r\nupgrade: h2c\r\n`)],
  ['a broken escape in the path', get('/v1/preferences/%zz%')],
  ['a zero byte in the path', get('/v1/preferences/%00')],
  ['dots in the path', get('/docs/../../../../etc/passwd')],
  ['escaped dots in the path', get('/docs/%2e%2e%2f%2e%2e%2fpackage.json')],
  ['a prototype in the path', get('/docs/__proto__')],
  ['a path of 60,000 characters', get(`/v1/preferences/${'a'.repeat(60_000)}`)],
  ['a query of strange values', get('/v1/preferences?limit=1e9&order[]=asc&after=%27%3B--&limit=-1')],
  ['a header of 64 KiB', get('/status', `${HOST}x-long: ${'a'.repeat(65_536)}\r\n`)],
  ['3,000 headers', get('/status', HOST + Array.from({ length: 3000 }, (_, at) => `x-${at}: 1\r\n`).join(''))],
  ['a zero byte in a header', get('/status', `${HOST}x-zero: a\0b\r\n`)],
  ['a folded header', get('/status', `${HOST}x-folded: a\r\n b\r\n`)],
  ['a header without a name', get('/status', `${HOST}: a\r\n`)],
  [
    'an idempotency key of 10,000 characters',
    post(preference('"rater": "r"'), `idempotency-key: ${'k'.repeat(10_000)}\r\n`).join(''),
  ],
];

const BODIES: [string, (string | Buffer)[]][] = [
  ['two lengths', [`POST /v1/preferences HTTP/1.1\r\n${HOST}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`]],
  ['a length and chunks', [`${chunked}content-length: 2\r\n\r\n0\r\n\r\n`]],
  ['a negative length', [`POST /v1/preferences HTTP/1.1\r\n${HOST}content-length: -1\r\n\r\n`]],
  ['a length of 2^64', [`POST /v1/preferences HTTP/1.1\r\n${HOST}content-length: 18446744073709551616\r\n\r\n`]],
  ['a chunk with a broken size', [`${chunked}\r\nxyz\r\n{}\r\n0\r\n\r\n`]],
  ['trailers', [`${chunked}trailer: x-a\r\n\r\n2\r\n{}\r\n0\r\nx-a: b\r\n\r\n`]],
  ['an unknown transfer encoding', [`POST /v1/preferences HTTP/1.1\r\n${HOST}transfer-encoding: zip\r\n\r\n`]],
  ['expect: 100-continue', post('{}', 'expect: 100-continue\r\n')],
  ['an unknown expectation', post('{}', 'expect: 999-dance\r\n')],
  ['an empty body', post('')],
  ['a body of invalid UTF-8', post(Buffer.from([0x22, 0xff, 0xfe, 0xc3, 0x28, 0x22]))],
  [
    'invalid UTF-8 in a field',
    post(Buffer.concat([Buffer.from(preference('"rater": "').slice(0, -1)), Buffer.from([0xff, 0x22, 0x7d])])),
  ],
  ['a body of UTF-16', post(Buffer.from(preference('"rater": "r"'), 'utf16le'))],
  ['a byte order mark', post(`\uFEFF${preference('"rater": "r"')}`)],
  ['a body said to be gzip', post('{}', 'content-encoding: gzip\r\n')],
  ['100,000 nested arrays', post(nest('[', ']', 100_000))],
  [
    '100,000 nested objects in metadata',
    post(preference(`"metadata": ${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`)),
  ],
  [
    'a prototype in the metadata',
    post(preference('"metadata": {"__proto__": {"a": 1}, "constructor": {"prototype": 1}}')),
  ],
  ['a prototype as a field', post(preference('"__proto__": {"rater": "r"}'))],
  ['half a surrogate pair', post(preference('"rater": "\\ud800"'))],
  ['a zero byte in a text', post(preference('"rater": "\\u0000"'))],
  ['a number that is infinite', post('{"model": "attune", "prompt": "p", "max_tokens": 1e999}', '', '/v1/completions')],
  ['one field twice', post(preference('"prompt": 1, "prompt": "p"'))],
  ['two JSON values', post('{}{}')],
  [
    'a template as a message',
    post(
      '{"messages": [{"role": "user", "content": "{% for i in range(99999999) %}x{% endfor %}"}], "max_tokens": 1}',
      '',
      '/v1/chat/completions',
    ),
  ],
  ['an import that is not JSONL', post('\0\x01\x02\n{"prompt"\n', '', '/v1/preferences/import')],
];

/** The handshake of TLS 1.2, as a browser sends it to the wrong port. */
const CLIENT_HELLO = Buffer.from(`16030100c8010000c40303${'00'.repeat(190)}`, 'hex');

export const RAW_CASES: RawCase[] = [
  ...REQUEST_LINES.map(([name, text]) => ({ name, chunks: [text] })),
  ...BODIES.map(([name, chunks]) => ({ name, chunks })),
  { name: 'a TLS handshake', chunks: [CLIENT_HELLO] },
  { name: 'a chunk of 2^60 bytes', chunks: [`${chunked}\r\nfffffffffffffff\r\n{}`], isSlow: true },
  { name: 'nothing, then the end', chunks: [''], isCutOff: true },
  { name: 'half a request line, then the end', chunks: ['GET /sta'], isCutOff: true },
  {
    name: 'half a body, then the end',
    chunks: [post(preference('"rater": "r"')).join('').slice(0, -9)],
    isCutOff: true,
  },
  { name: 'half a chunk, then the end', chunks: [`${chunked}\r\n40\r\n{"prompt"`], isCutOff: true },
  { name: 'a request and garbage behind it', chunks: [get('/status') + 'x'.repeat(5000)], responses: 2 },
  { name: '50 requests at once', chunks: [get('/status').repeat(50)], responses: 50 },
  { name: 'a request in single bytes', chunks: [...get('/status', `${HOST}connection: close\r\n`)], pauseMs: 20 },
  {
    name: 'headers that never end',
    chunks: [`GET /status HTTP/1.1\r\n${HOST}`, ...Array.from({ length: 15 }, () => 'x: 1\r\n')],
    isSlow: true,
    pauseMs: 1000,
  },
];
