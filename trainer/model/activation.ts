// The activations of feed-forwards, alone or gating another product (Shazeer 2020), with their own gradients, which keep
// only the inputs.
import * as tf from '@tensorflow/tfjs-core';
import type { Activation } from '../../shared/model/architecture.ts';

type Curve = { value: tf.Tensor; slope: tf.Tensor };

type Curves = {
  value(x: tf.Tensor): tf.Tensor;
  /** The value again, and its derivative, which have most of the work in common. */
  both(x: tf.Tensor): Curve;
};

const silu: Curves = {
  value: (x) => tf.mul(x, tf.sigmoid(x)),
  both(x) {
    const s = tf.sigmoid(x);
    const value = tf.mul(x, s);
    return { value, slope: tf.add(s, tf.sub(value, tf.mul(value, s))) }; // s + silu·(1 − s)
  },
};

/** x · Φ(x), where Φ is the normal distribution's. */
const gelu: Curves = {
  value: (x) => tf.mul(x, normalBelow(x)),
  both(x) {
    const below = normalBelow(x);
    const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return { value: tf.mul(x, below), slope: tf.add(below, tf.mul(x, density)) };
  },
};

function normalBelow(x: tf.Tensor): tf.Tensor {
  return tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
}

const WIDTH = Math.sqrt(2 / Math.PI);
const BEND = 0.044715;

/** Φ by the tanh of a cubic (Hendrycks and Gimpel 2016). */
const geluTanh: Curves = {
  value: (x) => tf.mul(x, bentBelow(x).below),
  both(x) {
    const { below, square } = bentBelow(x);
    // Φ′ = 2 Φ (1 − Φ) · the cubic's slope
    const cubicSlope = tf.mul(tf.add(tf.mul(square, 3 * BEND), 1), 2 * WIDTH);
    const density = tf.mul(tf.sub(below, tf.square(below)), cubicSlope);
    return { value: tf.mul(x, below), slope: tf.add(below, tf.mul(x, density)) };
  },
};

function bentBelow(x: tf.Tensor): { below: tf.Tensor; square: tf.Tensor } {
  const square = tf.square(x);
  const cubic = tf.mul(x, tf.mul(tf.add(tf.mul(square, BEND), 1), WIDTH));
  return { below: tf.mul(tf.add(tf.tanh(cubic), 1), 0.5), square };
}

const CURVES: Record<Activation, Curves> = { silu, gelu, gelu_tanh: geluTanh };

/** x [N, f] → act(x) [N, f] */
export function activate(activation: Activation, x: tf.Tensor2D): tf.Tensor2D {
  const { value, both } = CURVES[activation];
  return tf.customGrad((...args) => {
    const [x, save] = args as unknown as [tf.Tensor2D, tf.GradSaveFunc];
    save([x]);
    return {
      value: value(x),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(dy, both(saved[0]!).slope),
    };
  })(x) as tf.Tensor2D;
}

/** gate, up [N, f] → act(gate) · up [N, f] */
export function activateGated(activation: Activation, gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  const { value, both } = CURVES[activation];
  return tf.customGrad((...args) => {
    const [gate, up, save] = args as unknown as [tf.Tensor2D, tf.Tensor2D, tf.GradSaveFunc];
    save([gate, up]);
    return {
      value: tf.mul(value(gate), up),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [gate, up] = saved as [tf.Tensor, tf.Tensor];
        const active = both(gate);
        return [tf.mul(tf.mul(dy, up), active.slope), tf.mul(dy, active.value)];
      },
    };
  })(gate, up) as tf.Tensor2D;
}
