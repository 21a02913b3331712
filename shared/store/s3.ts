// The policy store on any S3-compatible server: R2's S3 endpoint, Amazon's, MinIO. The digest of each body is part of its
// signature, so the server rejects bytes that were damaged in transit.

import { sha256 } from '../digest.ts';
import { type ObjectService, openObjectStore } from './object-store.ts';
import { createS3Client, type Fetch } from './s3-client.ts';
import { children, childText, type S3Location } from './s3-protocol.ts';
import { resumableBody } from './s3-resume.ts';
import type { PolicyStore } from './store.ts';

export function openS3Store(location: S3Location, fetch: Fetch): PolicyStore {
  return openObjectStore(openS3(location, fetch));
}

function openS3(location: S3Location, fetch: Fetch): ObjectService {
  const { bucket, prefix } = location;
  const client = createS3Client(location, fetch);
  const { send } = client;
  const base = prefix === '' ? '' : `${prefix}/`;

  return {
    location: `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`,
    async get(key) {
      const response = await send({ method: 'GET', key, isStreamed: true, expectsCode: 'NoSuchKey' });
      if (!response.body) return null;
      const digest = response.headers.get('x-amz-meta-sha256') ?? undefined;
      return { body: resumableBody(client, key, response), sha256: digest };
    },
    async put(key, bytes, { sha256, ifAbsent }) {
      const headers = { 'x-amz-meta-sha256': sha256, ...(ifAbsent ? { 'if-none-match': '*' } : {}) };
      const expectsCode = ifAbsent ? 'PreconditionFailed' : undefined;
      return (await send({ method: 'PUT', key, headers, body: bytes, sha256, expectsCode })).code === '';
    },
    async startUpload(key) {
      const started = await send({ method: 'POST', key, query: { uploads: '' } });
      const uploadId = childText(started.xml, 'UploadId');
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
          const request = { method: 'POST', key, query: { uploadId }, body, sha256: sha256(body) } as const;
          const { code } = await send({ ...request, expectsCode: 'NoSuchUpload' });
          // It may be complete already: the response was lost and the request repeated. Readers verify the content.
          if (code !== '' && (await sizeOf(key)) !== bytesSent)
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
        const { xml } = await send({ method: 'GET', query });
        keys.push(...children(xml, 'Contents').map((object) => childText(object, 'Key').slice(base.length)));
        token = childText(xml, 'NextContinuationToken') || undefined;
      } while (token);
      return keys;
    },
    async remove(keys) {
      for (const key of keys) await send({ method: 'DELETE', key, expectsCode: 'NoSuchKey' });
    },
    async abortUploads(prefix) {
      const { xml } = await send({ method: 'GET', query: { uploads: '', prefix: base + prefix } });
      for (const upload of children(xml, 'Upload')) {
        const key = childText(upload, 'Key').slice(base.length);
        const query = { uploadId: childText(upload, 'UploadId') };
        await send({ method: 'DELETE', key, query, expectsCode: 'NoSuchUpload' });
      }
    },
  };

  async function sizeOf(key: string): Promise<number> {
    const response = await send({ method: 'GET', key, headers: { range: 'bytes=0-0' }, expectsCode: 'NoSuchKey' });
    return Number(response.headers.get('content-range')?.split('/')[1] ?? -1);
  }
}
