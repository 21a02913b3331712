// Requests to an S3-compatible server and its responses, with their XML.

import { parseXml, XmlElement } from '@rgrove/parse-xml';

export type S3Location = {
  bucket: string;
  /** without slashes at its ends; '' for none */
  prefix: string;
  endpoint: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
  /** per request; default: 6 */
  maxAttempts?: number;
  /** without a byte from the server; default: 30,000 */
  timeoutMs?: number;
};

export type S3Request = {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** below the prefix; without one the request is for the bucket */
  key?: string;
  query?: Record<string, string>;
  headers?: Record<string, string>;
  body?: Uint8Array<ArrayBuffer>;
  /** of the body, in hex */
  sha256?: string;
  /** An error code that the caller handles: the response is returned instead of an error thrown. */
  expectsCode?: string | undefined;
  /** The body of a success is returned as a stream instead of being parsed. */
  isStreamed?: boolean;
};

export type S3Response = {
  status: number;
  headers: Headers;
  /** null for a stream, an empty body, and one that is not XML */
  xml: XmlElement | null;
  body: ReadableStream<Uint8Array> | null;
  /** `<Code>` and `<Message>` of an `<Error>`; both '' otherwise */
  code: string;
  message: string;
};

/** The root element, or null if the text is not XML: a proxy's error page. */
export function parseS3Xml(text: string): XmlElement | null {
  try {
    return parseXml(text.trim()).root;
  } catch {
    return null;
  }
}

/** The text of the first child with this name, or ''. */
export function childText(parent: XmlElement | null, name: string): string {
  return children(parent, name)[0]?.text ?? '';
}

export function children(parent: XmlElement | null, name: string): XmlElement[] {
  return (parent?.children ?? []).filter(
    (node): node is XmlElement => node instanceof XmlElement && node.name === name,
  );
}
