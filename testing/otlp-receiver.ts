// A receiver of OpenTelemetry traces for tests: OTLP over HTTP in JSON. Closed after the test.

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after } from 'node:test';

type AttributeValue = {
  stringValue?: string;
  intValue?: number | string;
  doubleValue?: number;
  arrayValue?: { values: AttributeValue[] };
};
type Attribute = { key: string; value: AttributeValue };
type ExportedSpan = {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  attributes: Attribute[];
  events: { name: string; attributes: Attribute[] }[];
  status: { code: number };
};

export type ReceivedSpan = Omit<ExportedSpan, 'attributes' | 'events'> & {
  service: unknown;
  attributes: Record<string, unknown>;
  events: { name: string; attributes: Record<string, unknown> }[];
};

export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  /** All that was received, as text. */
  body = '';
  private port = 0;

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async open(): Promise<this> {
    const server = createServer(async (request, response) => {
      const body = await text(request);
      this.body += body;
      if (request.url === '/v1/traces') this.add(JSON.parse(body));
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.port = (server.address() as AddressInfo).port;
    after(() => server.close());
    return this;
  }

  private add({ resourceSpans }: { resourceSpans: ResourceSpans[] }): void {
    for (const { resource, scopeSpans } of resourceSpans)
      for (const span of scopeSpans.flatMap(({ spans }) => spans))
        this.spans.push({
          ...span,
          service: toRecord(resource.attributes)['service.name'],
          attributes: toRecord(span.attributes),
          events: span.events.map(({ name, attributes }) => ({ name, attributes: toRecord(attributes) })),
        });
  }
}

type ResourceSpans = { resource: { attributes: Attribute[] }; scopeSpans: { spans: ExportedSpan[] }[] };

function toRecord(attributes: Attribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, toValue(value)]));
}

function toValue({ stringValue, intValue, doubleValue, arrayValue }: AttributeValue): unknown {
  if (arrayValue) return arrayValue.values.map(toValue);
  return stringValue ?? doubleValue ?? Number(intValue);
}
