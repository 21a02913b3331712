// The policy store on any S3-compatible server: R2's S3 endpoint, Amazon's, MinIO. The digest of each body is part of its
// signature, so a server refuses bytes that were damaged on their way.

import { sha256 } from '../digest.ts';
import { type ObjectService, openObjectStore } from './object-store.ts';
import { createS3Client, type Fetch, type S3Location } from './s3-client.ts';
import { resumableBody } from './s3-resume.ts';
import type { PolicyStore } from './store.ts';

export function openS3Store(place: S3Location, ask: Fetch): PolicyStore {
  return openObjectStore(openS3(place, ask));
}

function openS3(place: S3Location, ask: Fetch): ObjectService {
  const { bucket, prefix } = place;
  const wire = createS3Client(place, ask);
  const { send } = wire;
  const base = prefix === '' ? '' : `${prefix}/`;

  return {
    location: `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`,
    async get(key) {
      const answer = await send({ method: 'GET', key, isStreamed: true, expectsCode: 'NoSuchKey' });
      if (!answer.body) return null;
      return { body: resumableBody(wire, key, answer), sha256: answer.headers.get('x-amz-meta-sha256') ?? undefined };
    },
    async put(key, bytes, { sha256, ifAbsent: isNew }) {
      const headers = { 'x-amz-meta-sha256': sha256, ...(isNew ? { 'if-none-match': '*' } : {}) };
      const expectsCode = isNew ? 'PreconditionFailed' : undefined;
      return (await send({ method: 'PUT', key, headers, body: bytes, sha256, expectsCode })).code === '';
    },
    async startUpload(key) {
      const started = await send({ method: 'POST', key, query: { uploads: '' } });
      const uploadId = plain(tag(started.text, 'UploadId'));
      const parts: string[] = [];
      let bytesSent = 0;
      return {
        async part(number, bytes) {
          const query = { partNumber: String(number), uploadId };
          const { headers } = await send({ method: 'PUT', key, query, body: bytes, sha256: sha256(bytes) });
          parts.push(`<Part><PartNumber>${number}</PartNumber><ETag>${headers.get('etag')}</ETag></Part>`);
          bytesSent += bytes.length;
        },
        async complete() {
          const body = new TextEncoder().encode(
            `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${parts.join('')}</CompleteMultipartUpload>`,
          );
          const digest = sha256(body);
          const done = await send({
            method: 'POST',
            key,
            query: { uploadId },
            body,
            sha256: digest,
            expectsCode: 'NoSuchUpload',
          });
          // It may be complete already: the answer was lost and this was sent again. Readers check what is there.
          if (done.code !== '' && (await sizeOf(key)) !== bytesSent)
            throw new Error(`internal: upload of ${key} vanished before it was complete`);
        },
        abort: async () =>
          void (await send({ method: 'DELETE', key, query: { uploadId }, expectsCode: 'NoSuchUpload' })),
      };
    },
    async list(prefix) {
      const keys: string[] = [];
      let token: string | undefined;
      do {
        const query = { 'list-type': '2', prefix: base + prefix, ...(token ? { 'continuation-token': token } : {}) };
        const { text } = await send({ method: 'GET', query });
        keys.push(...tags(text, 'Key').map((key) => plain(key).slice(base.length)));
        token = plain(tag(text, 'NextContinuationToken')) || undefined;
      } while (token);
      return keys;
    },
    async remove(keys) {
      for (const key of keys) await send({ method: 'DELETE', key, expectsCode: 'NoSuchKey' });
    },
    async abortUploads(prefix) {
      const { text } = await send({ method: 'GET', query: { uploads: '', prefix: base + prefix } });
      for (const upload of tags(text, 'Upload')) {
        const key = plain(tag(upload, 'Key')).slice(base.length);
        const query = { uploadId: plain(tag(upload, 'UploadId')) };
        await send({ method: 'DELETE', key, query, expectsCode: 'NoSuchUpload' });
      }
    },
  };

  async function sizeOf(key: string): Promise<number> {
    const answer = await send({ method: 'GET', key, headers: { range: 'bytes=0-0' }, expectsCode: 'NoSuchKey' });
    return Number(answer.headers.get('content-range')?.split('/')[1] ?? -1);
  }
}

function tags(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`<${name}>([\\s\\S]*?)</${name}>`, 'g'))].map(([, inside]) => inside!);
}

function tag(xml: string, name: string): string {
  return tags(xml, name)[0] ?? '';
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function plain(text: string): string {
  return text.replace(/&(?:#(x?)([0-9a-fA-F]+)|(\w+));/g, (whole, isHex, code, name) =>
    code ? String.fromCodePoint(Number.parseInt(code, isHex ? 16 : 10)) : (ENTITIES[name] ?? whole),
  );
}
