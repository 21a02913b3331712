// Runs hostile clients in a process of their own, so that the victim's latency is not theirs: node hostile-process.ts URL
// KEY NAME…, until it is killed.

import { constants, setPriority } from 'node:os';
import { HOSTILE_CLIENTS } from './hostile-clients.ts';

const [url, key, ...names] = process.argv.slice(2);
// They share the cores with the server that they attack.
setPriority(constants.priority.PRIORITY_LOW);
const { signal } = new AbortController();
await Promise.all(names.map((name) => HOSTILE_CLIENTS[name]!({ url: url!, key: key!, signal })));
