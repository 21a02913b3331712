// AdamW (Loshchilov and Hutter 2019) in operations of tfjs, where the tensors are. The numbers are those of the
// WebAssembly kernel: m = β₁m + (1−β₁)gs; v = β₂v + (1−β₂)(gs)²; w = w·decay − m·rate / (√v · correction + ε).
import * as tf from '@tensorflow/tfjs-core';
import type { OptimizerSettings } from '../../engine.ts';

type Tensors = Map<string, tf.Tensor>;

export type AdamwState = { weight: Tensors; first: Tensors; second: Tensors; gradient: Tensors };
/** `step` counts from 1; `scale` is what gradients are multiplied by first. */
export type AdamwStep = { scale: number; learningRate: number; step: number; settings: OptimizerSettings };

/** Replaces weights and moments by the next ones and frees the old. */
export function stepAdamw(state: AdamwState, { scale, learningRate, step, settings }: AdamwStep): void {
  const { beta1, beta2, epsilon, weightDecay } = settings;
  tf.tidy(() => {
    // One scalar each for all parameters: every number in an operation is a tensor that travels.
    const number = {
      scale: tf.scalar(scale),
      rate: tf.scalar(learningRate / (1 - beta1 ** step)),
      correction: tf.scalar(1 / Math.sqrt(1 - beta2 ** step)),
      decay: tf.scalar(1 - learningRate * weightDecay),
      beta1: tf.scalar(beta1),
      rest1: tf.scalar(1 - beta1),
      beta2: tf.scalar(beta2),
      rest2: tf.scalar(1 - beta2),
      epsilon: tf.scalar(epsilon),
    };
    for (const [name, weight] of state.weight) {
      const next = tf.tidy(() => {
        const g = tf.mul(state.gradient.get(name)!, number.scale);
        const first = tf.add(tf.mul(state.first.get(name)!, number.beta1), tf.mul(g, number.rest1));
        const second = tf.add(tf.mul(state.second.get(name)!, number.beta2), tf.mul(tf.square(g), number.rest2));
        const slope = tf.add(tf.mul(tf.sqrt(second), number.correction), number.epsilon);
        // Gains and biases are not pulled to zero.
        const decayed = weightDecay > 0 && weight.rank > 1 ? tf.mul(weight, number.decay) : weight;
        return { weight: tf.sub(decayed, tf.div(tf.mul(first, number.rate), slope)), first, second };
      });
      for (const array of ['weight', 'first', 'second'] as const) {
        state[array].get(name)!.dispose();
        state[array].set(name, tf.keep(next[array]));
      }
    }
  });
}
