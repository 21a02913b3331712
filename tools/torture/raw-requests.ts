// Sends the raw cases to the API, all at once: each must be answered or its connection closed, and no answer is a 5xx.

import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { RAW_CASES, type RawCase } from './raw-cases.ts';
import type { Report } from './report.ts';

/** The server waits 10 s for headers, which it checks every 2 s, and 30 s for a body. */
const TIMEOUT_MS = 45_000;

export async function runRawRequests(report: Report, url: string, isQuick: boolean): Promise<void> {
  const cases = RAW_CASES.filter(({ isSlow }) => !(isQuick && isSlow));
  const results = await Promise.all(cases.map(async (rawCase) => ({ rawCase, ...(await sendRaw(url, rawCase)) })));
  for (const { rawCase, text, isClosed, isLate } of results) {
    const { name, responses = 1 } = rawCase;
    const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
    if (isLate) report.fail(`raw requests: ${name}: neither an answer nor the end after ${TIMEOUT_MS / 1000} s`);
    if (!isClosed && statuses.length < responses) report.fail(`raw requests: ${name}: ${statuses.length} responses`);
    if (statuses.some((status) => status >= 500)) report.fail(`raw requests: ${name}: ${text.slice(0, 400)}`);
    const body = /\r\ncontent-type: application\/json[\s\S]*?\r\n\r\n(\{"error".*)$/m.exec(text)?.[1];
    if (body && !isErrorBody(body)) report.fail(`raw requests: ${name}: not an error in the API's shape: ${body}`);
  }
  const status = await fetch(`${url}/status`, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(() => null);
  if (status?.status !== 200) report.fail('raw requests: afterwards /status does not answer');
  const answered = results.filter(({ text }) => text !== '').length;
  const note = `${results.length - answered} closed without an answer`;
  report.add({ what: 'raw requests', times: 1, tried: results.length, acknowledged: answered, note });
}

type RawResult = { text: string; isClosed: boolean; isLate: boolean };

async function sendRaw(url: string, { chunks, pauseMs = 0, isCutOff, responses = 1 }: RawCase): Promise<RawResult> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  const result = { text: '', isClosed: false, isLate: false };
  const done = new Promise<void>((resolve) => {
    const isAnswered = () => [...result.text.matchAll(/HTTP\/1\.1 /g)].length >= responses;
    socket.on('data', (chunk) => {
      result.text += chunk.toString('latin1');
      // The body follows its headers at once.
      if (isAnswered()) setTimeout(resolve, 100);
    });
    socket
      .on('error', () => {})
      .on('close', () => {
        result.isClosed = true;
        resolve();
      });
  });
  const write = async () => {
    for (const chunk of chunks) {
      if (socket.destroyed) return;
      socket.write(chunk);
      if (pauseMs > 0) await sleep(pauseMs);
    }
    if (isCutOff) socket.end();
  };
  void write();
  result.isLate = await Promise.race([done.then(() => false), sleep(TIMEOUT_MS, true)]);
  socket.destroy();
  return result;
}

function isErrorBody(text: string): boolean {
  const { error } = JSON.parse(text);
  return typeof error.message === 'string' && typeof error.type === 'string' && 'param' in error && 'code' in error;
}
