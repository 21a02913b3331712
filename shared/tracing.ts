// OpenTelemetry traces, exported as OTLP over HTTP in JSON. Without OTEL_EXPORTER_OTLP_ENDPOINT nothing of OpenTelemetry is
// even imported. The exporter reads its other OTEL_EXPORTER_OTLP_* variables itself.

import type { Context, Tracer } from '@opentelemetry/api';
import { AttuneError } from './error.ts';
import { summarizeError } from './error-description.ts';
import { log } from './log.ts';
import type { Settings } from './settings.ts';

export type Tracing = {
  api: typeof import('@opentelemetry/api');
  tracer: Tracer;
  /** The caller's span, from the headers of W3C Trace Context. */
  readParent(headers: { traceparent?: string | undefined; tracestate?: string | undefined }): Context;
  /** Exports what is left. */
  close(): Promise<void>;
};

/** A collector that is down delays the end of a process by no more. */
const CLOSE_TIMEOUT_MS = 3000;

/** `service`: what this process is, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has another. */
export async function openTracing(
  settings: Pick<Settings, 'OTEL_EXPORTER_OTLP_ENDPOINT'>,
  service: { name: string; version: string },
): Promise<Tracing | null> {
  const { env } = process;
  if (!settings.OTEL_EXPORTER_OTLP_ENDPOINT || env.OTEL_SDK_DISABLED === 'true') return null;
  const [api, core, resources, sdk, { OTLPTraceExporter }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/core'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/exporter-trace-otlp-http'),
  ]);
  core.setGlobalErrorHandler((error) => log.warn('traces', `export failed: ${summarizeError(error)}`));
  const { resourceAttributesEnvDetector, serviceInstanceIdDetector, serviceNameEnvDetector } = resources;
  const detectors = [serviceInstanceIdDetector, resourceAttributesEnvDetector, serviceNameEnvDetector];
  const provider = new sdk.TracerProvider({
    sampler: createSampler(sdk, env.OTEL_TRACES_SAMPLER || undefined, env.OTEL_TRACES_SAMPLER_ARG || undefined),
    resource: resources
      .defaultResource()
      .merge(resources.resourceFromAttributes({ 'service.name': service.name, 'service.version': service.version }))
      .merge(resources.detectResources({ detectors })),
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter: new OTLPTraceExporter(),
        scheduledDelayMillis: Number(env.OTEL_BSP_SCHEDULE_DELAY) || 5000,
      }),
    ],
  });
  const propagator = new core.W3CTraceContextPropagator();
  return {
    api,
    tracer: provider.getTracer('attune', service.version),
    readParent: (headers) => propagator.extract(api.ROOT_CONTEXT, headers, api.defaultTextMapGetter),
    async close() {
      const timeout = new Promise((resolve) => setTimeout(resolve, CLOSE_TIMEOUT_MS).unref());
      await Promise.race([provider.shutdown().catch(() => {}), timeout]);
    },
  };
}

/** By OTEL_TRACES_SAMPLER and its argument, as OpenTelemetry's specification defines them. */
function createSampler(
  sdk: typeof import('@opentelemetry/sdk-trace'),
  name = 'parentbased_always_on',
  ratio = '1',
): import('@opentelemetry/sdk-trace').Sampler {
  const samplers: Record<string, () => import('@opentelemetry/sdk-trace').Sampler> = {
    always_on: () => new sdk.AlwaysOnSampler(),
    always_off: () => new sdk.AlwaysOffSampler(),
    traceidratio: () => new sdk.TraceIdRatioBasedSampler(Number(ratio)),
  };
  const root = samplers[name.replace(/^parentbased_/, '')];
  if (!root)
    throw new AttuneError(
      `settings: OTEL_TRACES_SAMPLER: ${name} is unknown; give always_on, always_off or traceidratio, or one of these with parentbased_`,
      { code: 'invalid_settings' },
    );
  if (!(Number(ratio) >= 0 && Number(ratio) <= 1))
    throw new AttuneError('settings: OTEL_TRACES_SAMPLER_ARG: give a fraction from 0 to 1', {
      code: 'invalid_settings',
    });
  return name.startsWith('parentbased_') ? new sdk.ParentBasedSampler({ root: root() }) : root();
}
