// The activations of the feed-forward layer, alone or gated (GLU variants, Shazeer 2020). Their custom gradients keep
// only the inputs for the backward pass.
import * as tf from '@tensorflow/tfjs-core';
import type { Activation } from '../../shared/model/architecture.ts';

type ValueAndSlope = { value: tf.Tensor; slope: tf.Tensor };

type ActivationFunction = {
  value(x: tf.Tensor): tf.Tensor;
  /** Value and derivative, which share most of their work. */
  valueAndSlope(x: tf.Tensor): ValueAndSlope;
};

/** silu(x) = x · σ(x) */
const silu: ActivationFunction = {
  value: (x) => tf.mul(x, tf.sigmoid(x)),
  valueAndSlope(x) {
    const s = tf.sigmoid(x);
    const value = tf.mul(x, s);
    return { value, slope: tf.add(s, tf.sub(value, tf.mul(value, s))) }; // silu′ = σ + silu · (1 − σ)
  },
};

/** gelu(x) = x · Φ(x), with Φ the CDF of the standard normal distribution (Hendrycks and Gimpel 2016). */
const gelu: ActivationFunction = {
  value: (x) => tf.mul(x, normalCdf(x)),
  valueAndSlope(x) {
    const cdf = normalCdf(x);
    const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return { value: tf.mul(x, cdf), slope: tf.add(cdf, tf.mul(x, density)) };
  },
};

function normalCdf(x: tf.Tensor): tf.Tensor {
  return tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
}

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
const CUBIC_COEFFICIENT = 0.044715;

/** The tanh approximation: Φ(x) ≈ ½ (1 + tanh(√(2/π) (x + 0.044715 x³))) */
const geluTanh: ActivationFunction = {
  value: (x) => tf.mul(x, tanhCdf(x).cdf),
  valueAndSlope(x) {
    const { cdf, square } = tanhCdf(x);
    // Φ′ = 2 Φ (1 − Φ) · the cubic's derivative
    const cubicSlope = tf.mul(tf.add(tf.mul(square, 3 * CUBIC_COEFFICIENT), 1), 2 * SQRT_2_OVER_PI);
    const density = tf.mul(tf.sub(cdf, tf.square(cdf)), cubicSlope);
    return { value: tf.mul(x, cdf), slope: tf.add(cdf, tf.mul(x, density)) };
  },
};

function tanhCdf(x: tf.Tensor): { cdf: tf.Tensor; square: tf.Tensor } {
  const square = tf.square(x);
  const cubic = tf.mul(x, tf.mul(tf.add(tf.mul(square, CUBIC_COEFFICIENT), 1), SQRT_2_OVER_PI));
  return { cdf: tf.mul(tf.add(tf.tanh(cubic), 1), 0.5), square };
}

const ACTIVATIONS: Record<Activation, ActivationFunction> = { silu, gelu, gelu_tanh: geluTanh };

/** x [N, f] → act(x) [N, f] */
export function activate(activation: Activation, x: tf.Tensor2D): tf.Tensor2D {
  const { value, valueAndSlope } = ACTIVATIONS[activation];
  return tf.customGrad((...args) => {
    const [x, save] = args as unknown as [tf.Tensor2D, tf.GradSaveFunc];
    save([x]);
    return {
      value: value(x),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(dy, valueAndSlope(saved[0]!).slope),
    };
  })(x) as tf.Tensor2D;
}

/** gate, up [N, f] → act(gate) · up [N, f] */
export function activateGated(activation: Activation, gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  const { value, valueAndSlope } = ACTIVATIONS[activation];
  return tf.customGrad((...args) => {
    const [gate, up, save] = args as unknown as [tf.Tensor2D, tf.Tensor2D, tf.GradSaveFunc];
    save([gate, up]);
    return {
      value: tf.mul(value(gate), up),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [gate, up] = saved as [tf.Tensor, tf.Tensor];
        const activated = valueAndSlope(gate);
        return [tf.mul(tf.mul(dy, up), activated.slope), tf.mul(dy, activated.value)];
      },
    };
  })(gate, up) as tf.Tensor2D;
}
