// Writes pages/api-types.ts, the types of the API for its client in pages/: what openapi-typescript makes of the app's own
// OpenAPI document. `npm run check` runs it first, so that the types are never older than the API.

import { writeFile } from 'node:fs/promises';
import { registerHooks } from 'node:module';
import { createApp } from '../edge/app.ts';
import { Tenants } from '../edge/engine/tenants.ts';
import type { Ports } from '../edge/ports.ts';
import { readSettings } from '../shared/settings.ts';

const API_TYPES = new URL('../pages/api-types.ts', import.meta.url);

const HEADER = `// The types of the API, written by \`npm run api-types\` from its OpenAPI document.\n\n`;

// openapi-typescript uses the compiler as a library, which TypeScript 7 has no stable one of yet.
const COMPILER = `data:text/javascript,import { ts } from '${import.meta.resolve('@ts-morph/common')}'; export default ts;`;

async function renderApiTypes(): Promise<string> {
  const hooks = registerHooks({
    resolve: (name, context, next) =>
      name === 'typescript' ? { url: COMPILER, shortCircuit: true } : next(name, context),
  });
  const { default: openapiTs, astToString } = await import('openapi-typescript');
  hooks.deregister();
  return HEADER + astToString(await openapiTs(await readDocument(), { alphabetize: true }));
}

async function readDocument() {
  const ports = {
    settings: readSettings({}),
    tenants: new Tenants(),
    metrics: { observeResponse() {} },
    observeRequest() {},
    getAddress: () => '127.0.0.1',
  } as unknown as Ports;
  const response = await createApp(ports).request('/openapi.json', { headers: { host: 'localhost' } });
  return response.json();
}

if (import.meta.main) await writeFile(API_TYPES, await renderApiTypes());
