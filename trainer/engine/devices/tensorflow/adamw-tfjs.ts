// AdamW (Loshchilov and Hutter 2019) as tfjs operations, with the formula of the WebAssembly kernel:
// m ← β₁ m + (1−β₁) s g;  v ← β₂ v + (1−β₂) (s g)²;  w ← decay · w − rate · m / (√v · correction + ε)
import * as tf from '@tensorflow/tfjs-core';
import type { OptimizerSettings } from '../../engine.ts';

type Tensors = Map<string, tf.Tensor>;

export type AdamwState = { weight: Tensors; firstMoment: Tensors; secondMoment: Tensors; gradient: Tensors };
/** `step` counts from 1; gradients are multiplied by `scale` first. */
export type AdamwStep = { scale: number; learningRate: number; step: number; settings: OptimizerSettings };

/** Replaces the weights and moments and frees the old tensors. */
export function stepAdamw(state: AdamwState, { scale, learningRate, step, settings }: AdamwStep): void {
  const { beta1, beta2, epsilon, weightDecay } = settings;
  tf.tidy(() => {
    // Scalars shared by all parameters: every number in an operation is a tensor that is sent to the device.
    const scalars = {
      scale: tf.scalar(scale),
      rate: tf.scalar(learningRate / (1 - beta1 ** step)),
      correction: tf.scalar(1 / Math.sqrt(1 - beta2 ** step)),
      decay: tf.scalar(1 - learningRate * weightDecay),
      beta1: tf.scalar(beta1),
      oneMinusBeta1: tf.scalar(1 - beta1),
      beta2: tf.scalar(beta2),
      oneMinusBeta2: tf.scalar(1 - beta2),
      epsilon: tf.scalar(epsilon),
    };
    for (const [name, weight] of state.weight) {
      const next = tf.tidy(() => {
        const g = tf.mul(state.gradient.get(name)!, scalars.scale);
        const firstMoment = tf.add(
          tf.mul(state.firstMoment.get(name)!, scalars.beta1),
          tf.mul(g, scalars.oneMinusBeta1),
        );
        const secondMoment = tf.add(
          tf.mul(state.secondMoment.get(name)!, scalars.beta2),
          tf.mul(tf.square(g), scalars.oneMinusBeta2),
        );
        const denominator = tf.add(tf.mul(tf.sqrt(secondMoment), scalars.correction), scalars.epsilon);
        // Gains and biases are not decayed.
        const decayed = weightDecay > 0 && weight.rank > 1 ? tf.mul(weight, scalars.decay) : weight;
        return {
          weight: tf.sub(decayed, tf.div(tf.mul(firstMoment, scalars.rate), denominator)),
          firstMoment,
          secondMoment,
        };
      });
      for (const array of ['weight', 'firstMoment', 'secondMoment'] as const) {
        state[array].get(name)!.dispose();
        state[array].set(name, tf.keep(next[array]));
      }
    }
  });
}
