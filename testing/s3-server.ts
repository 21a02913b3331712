// A real S3-compatible server for tests: versitygw on a temporary folder, and a TCP proxy in front of it that cuts
// connections, lets them hang or flips a byte.

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findFreePort } from '../shared/free-port.ts';
import type { S3Location } from '../shared/store/s3-protocol.ts';
import { installTool } from './install-tool.ts';
import { ProxyServer } from './proxy-server.ts';

type S3Server = {
  location: S3Location;
  /** The folder with the bucket's objects as files. */
  folder: string;
  close(): Promise<void>;
};

const START_TIMEOUT_MS = 20_000;

/** The server with one bucket, or the reason why it is not available. */
export async function startS3Server(): Promise<S3Server | { missing: string }> {
  const tool = installTool({ name: 'versitygw', from: { go: 'github.com/versity/versitygw/cmd/versitygw@v1.8.0' } });
  if ('missing' in tool) return tool;
  const home = await mkdtemp(path.join(tmpdir(), 'attune-s3-'));
  const bucket = 'policies';
  const folder = path.join(home, 'objects', bucket);
  await mkdir(folder, { recursive: true });
  await mkdir(path.join(home, 'metadata'));
  const port = await findFreePort();
  const [accessKeyId, secretAccessKey] = ['key', 'secret'];
  const args = ['--port', `127.0.0.1:${port}`, '--access', accessKeyId, '--secret', secretAccessKey, '--quiet'];
  const backend = ['posix', '--sidecar', path.join(home, 'metadata'), path.join(home, 'objects')];
  const child = spawn(tool.path, [...args, ...backend], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const endpoint = `http://127.0.0.1:${port}`;
  const location: S3Location = { bucket, prefix: '', endpoint, region: 'us-east-1', accessKeyId, secretAccessKey };
  const close = async () => {
    child.kill();
    await ended;
    await rm(home, { recursive: true, force: true });
  };
  for (let waitedMs = 0; !(await fetch(endpoint).catch(() => null)); waitedMs += 50) {
    if (child.exitCode !== null || waitedMs > START_TIMEOUT_MS) {
      await close();
      throw new Error('versitygw did not start');
    }
    await sleep(50);
  }
  return { location, folder, close };
}

export type Fault = {
  kind: 'cut' | 'hang' | 'flip';
  direction: 'request' | 'response';
  /** Byte offset in a connection at which it occurs. */
  at: number;
  /** Number of connections affected. */
  count: number;
};

type FaultyProxy = {
  endpoint: string;
  /** The current fault; undefined for none. */
  fault: Fault | undefined;
  /** Number of faults so far. */
  faults: number;
  close(): Promise<void>;
};

export async function startFaultyProxy({ endpoint: target }: S3Location): Promise<FaultyProxy> {
  const server = new ProxyServer((client) => {
    const upstream = server.dial(new URL(target));
    // Deferred, so that bytes that have arrived are still forwarded.
    client.on('close', () => upstream.destroySoon());
    upstream.on('close', () => client.destroySoon());
    forward('request', client, upstream);
    forward('response', upstream, client);
  });

  function forward(direction: Fault['direction'], from: Socket, to: Socket): void {
    let forwarded = 0;
    let isHanging = false;
    from.on('data', (chunk: Buffer) => {
      const { fault } = proxy;
      const at = fault?.direction === direction ? fault.at - forwarded : -1;
      forwarded += chunk.length;
      if (isHanging) return;
      if (!fault || fault.count === 0 || at < 0 || at >= chunk.length) return void to.write(chunk);
      fault.count--;
      proxy.faults++;
      if (fault.kind === 'flip') {
        chunk[at]! ^= 1;
        to.write(chunk);
      } else {
        to.write(chunk.subarray(0, at));
        if (fault.kind === 'hang') isHanging = true;
        else for (const socket of [from, to]) socket.destroy();
      }
    });
  }

  const proxy: FaultyProxy = {
    endpoint: `http://127.0.0.1:${await server.listen()}`,
    fault: undefined,
    faults: 0,
    close: () => server.close(),
  };
  return proxy;
}
