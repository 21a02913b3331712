// Validates a custom objective before a round starts: checks its h numerically, and traces its loss and gradient once,
// so that an unsupported operation is reported before training starts.
import '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { AttuneError } from '../../shared/error.ts';
import { loadDivergence, validateDivergence } from '../divergence.ts';
import { type ObjectiveSettings, pairLosses } from '../objectives.ts';
import { type InputSpec, trace } from './trace/trace.ts';

/** Pairs of the traced batch; the number has no effect. */
const PAIRS = 4;

/** Loads and validates the module that `settings.objective` names. Throws `invalid_objective`. */
export async function validateObjective(settings: ObjectiveSettings): Promise<void> {
  const file = settings.objective;
  const divergence = await loadDivergence(file);
  const previousBackend = tf.getBackend();
  await tf.setBackend('cpu');
  // The cpu backend prints a banner at its first tensor unless IS_TEST is set.
  tf.env().set('IS_TEST', true);
  try {
    validateDivergence(file, divergence);
  } finally {
    tf.env().set('IS_TEST', false);
    if (previousBackend) await tf.setBackend(previousBackend);
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
      const [chosenGradient, rejectedGradient] = tf.grads(loss)([get('chosen'), get('rejected')]);
      return new Map([
        ['gradient.chosen', chosenGradient!],
        ['gradient.rejected', rejectedGradient!],
      ]);
    });
  } catch (error) {
    const missingKernel = /Kernel '(\w+)' not registered/.exec((error as Error).message)?.[1];
    throw new AttuneError(
      `objective ${file}: ${missingKernel ? `unsupported operation ${missingKernel}` : (error as Error).message}; write it with add, sub, mul, div, exp, log, sqrt, square, sigmoid, softplus, relu, maximum and minimum`,
      { param: 'objective', code: 'invalid_objective' },
    );
  }
}
