// A real S3-compatible server for tests: versitygw on a temporary folder, and a wire to it that can be cut, made to hang
// or made to change a byte.

import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Location } from '../shared/store/s3-client.ts';
import { bringTool } from './install-tool.ts';

export type S3Server = {
  location: S3Location;
  /** Where the bucket's objects lie as files. */
  folder: string;
  close(): Promise<void>;
};

/** The server with one bucket, or why it cannot be had. */
export async function startS3Server(): Promise<S3Server | { missing: string }> {
  const tool = bringTool({ name: 'versitygw', from: { go: 'github.com/versity/versitygw/cmd/versitygw@v1.8.0' } });
  if ('missing' in tool) return tool;
  const home = await mkdtemp(path.join(tmpdir(), 'attune-s3-'));
  const bucket = 'policies';
  const folder = path.join(home, 'objects', bucket);
  await mkdir(folder, { recursive: true });
  await mkdir(path.join(home, 'metadata'));
  const port = await freePort();
  const [accessKeyId, secretAccessKey] = ['key', 'secret'];
  const args = ['--port', `127.0.0.1:${port}`, '--access', accessKeyId, '--secret', secretAccessKey, '--quiet'];
  const backend = ['posix', '--sidecar', path.join(home, 'metadata'), path.join(home, 'objects')];
  const child = spawn(tool.path, [...args, ...backend], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const endpoint = `http://127.0.0.1:${port}`;
  const place: S3Location = { bucket, prefix: '', endpoint, region: 'us-east-1', accessKeyId, secretAccessKey };
  const close = async () => {
    child.kill();
    await ended;
    await rm(home, { recursive: true, force: true });
  };
  for (let waited = 0; !(await fetch(endpoint).catch(() => null)); waited += 50) {
    if (child.exitCode !== null || waited > 20_000) {
      await close();
      throw new Error('versitygw did not start');
    }
    await sleep(50);
  }
  return { location: place, folder, close };
}

export type Fault = {
  kind: 'cut' | 'hang' | 'flip';
  /** Bytes towards the server, or from it. */
  way: 'there' | 'back';
  /** The byte of a connection at which it happens. */
  at: number;
  /** In how many connections. */
  times: number;
};

export type FaultyProxy = {
  endpoint: string;
  /** What goes wrong from now on; undefined ends it. */
  fault: Fault | undefined;
  /** How often it went wrong. */
  happened: number;
  close(): void;
};

export async function startFaultyProxy({ endpoint: target }: S3Location): Promise<FaultyProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(new URL(target).port), '127.0.0.1');
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket.on('error', () => {}));
      // Soon, not at once: what has come is still to be handed on.
      socket.on('close', () => {
        other.destroySoon();
        sockets.delete(socket);
      });
    }
    carry('there', client, upstream);
    carry('back', upstream, client);
  });

  function carry(way: Fault['way'], from: Socket, to: Socket): void {
    let passed = 0;
    let isHanging = false;
    from.on('data', (chunk: Buffer) => {
      const { fault } = wire;
      const at = fault?.way === way ? fault.at - passed : -1;
      passed += chunk.length;
      if (isHanging) return;
      if (!fault || fault.times === 0 || at < 0 || at >= chunk.length) return void to.write(chunk);
      fault.times--;
      wire.happened++;
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

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const wire: FaultyProxy = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    fault: undefined,
    happened: 0,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  return wire;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
