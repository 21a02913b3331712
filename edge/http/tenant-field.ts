// The name of a tenant, wherever a request gives one.

import { z } from '@hono/zod-openapi';
import { TENANT_PATTERN, TENANT_RULE } from '../../shared/access/owner.ts';

export const tenantField = z.string().regex(TENANT_PATTERN, TENANT_RULE);
