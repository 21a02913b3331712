// Tries a user's objective before anything rests on it: its h is checked number by number, and its loss and gradient
// are traced once, because a round should not end at an operation that the engine does not have.
import '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { AttuneError } from '../../shared/error.ts';
import { checkDivergence, loadDivergence } from '../divergence.ts';
import { type ObjectiveSettings, pairLosses } from '../objectives.ts';
import { type InputSpec, trace } from './trace/trace.ts';

const PAIRS = 4;

/** Loads the module that `settings.objective` names. */
export async function tryObjective(settings: ObjectiveSettings): Promise<void> {
  const file = settings.objective;
  const divergence = await loadDivergence(file);
  const before = tf.getBackend();
  await tf.setBackend('cpu');
  // Its first tensor advertises another backend, unless under test.
  tf.env().set('IS_TEST', true);
  try {
    checkDivergence(file, divergence);
  } finally {
    tf.env().set('IS_TEST', false);
    if (before) await tf.setBackend(before);
  }
  const spec: InputSpec = { shape: [PAIRS], type: 'float32' };
  const names = ['chosen', 'rejected', 'chosenLogps', 'chosenImportance', 'rejectedImportance'] as const;
  try {
    trace(new Map(names.map((name) => [name, spec])), (inputs) => {
      const get = (name: (typeof names)[number]) => inputs.get(name) as tf.Tensor1D;
      const loss = (chosen: tf.Tensor, rejected: tf.Tensor) =>
        tf.sum(
          pairLosses(settings, {
            chosen: chosen as tf.Tensor1D,
            rejected: rejected as tf.Tensor1D,
            chosenLogps: get('chosenLogps'),
            chosenImportance: get('chosenImportance'),
            rejectedImportance: get('rejectedImportance'),
          }),
        );
      const [byChosen, byRejected] = tf.grads(loss)([get('chosen'), get('rejected')]);
      return new Map([
        ['chosen.slope', byChosen!],
        ['rejected.slope', byRejected!],
      ]);
    });
  } catch (error) {
    const missing = /Kernel '(\w+)' not registered/.exec((error as Error).message)?.[1];
    throw new AttuneError(
      `objective ${file}: ${missing ? `its operation ${missing} cannot be trained with` : (error as Error).message}; write it with add, sub, mul, div, exp, log, sqrt, square, sigmoid, softplus, relu, maximum and minimum`,
      { param: 'objective', code: 'invalid_objective' },
    );
  }
}
