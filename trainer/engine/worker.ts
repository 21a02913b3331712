// The thread that an ONNX engine computes in: ONNX Runtime blocks whoever calls it. Calls come as messages and are
// answered in their order; after `close` the thread ends by itself, because ending it from outside in the middle of a
// run would abort the whole process.
import { parentPort } from 'node:worker_threads';
import { Learner, type LearnerOptions } from './learner.ts';
import { type Call, toFailure } from './remote.ts';

const port = parentPort!;
let learner: Learner | undefined;
let last: Promise<void> = Promise.resolve();

port.on('message', (call: Call) => {
  last = last.then(() => answer(call));
});

async function answer({ id, method, args }: Call): Promise<void> {
  try {
    port.postMessage({ id, result: await run(method, args) });
  } catch (error) {
    port.postMessage({ id, failure: toFailure(error) });
  }
  if (method === 'close') port.close();
}

async function run(method: string, args: unknown[]): Promise<unknown> {
  if (method === 'open') {
    learner = new Learner(args[0] as LearnerOptions);
    return;
  }
  if (!learner) throw new Error(`internal: engine worker: ${method} before open`);
  const work = learner[method as keyof Learner] as (...args: unknown[]) => unknown;
  return work.apply(learner, args);
}
