// The tensors of a trace: a shape and an element type, and values only if the tensor is a constant.
import type { OnnxType } from '../../../shared/onnx/model-proto.ts';

export type ElementType = Extract<OnnxType, 'float32' | 'int32' | 'int64' | 'bool'>;
export type TypedValues = Float32Array | Int32Array | BigInt64Array | Uint8Array;

export type SymbolicTensor = {
  shape: number[];
  type: ElementType;
  /** Its name in the graph, assigned when the first node uses it. */
  name?: string;
  /** A constant whose elements are all this number. */
  splat?: number;
  /** The elements of any other constant. */
  values?: TypedValues;
  /** A segment sum that is not emitted yet, so that an addition can scatter it into its other operand. */
  segmentSum?: { indices: SymbolicTensor; updates: SymbolicTensor };
};

export function sizeOf(shape: number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function sameShape(a: number[], b: number[]): boolean {
  return a.length === b.length && a.every((extent, axis) => extent === b[axis]);
}

/** A typed array of the element type, filled with one number. */
export function filledArray(type: ElementType, length: number, value: number): TypedValues {
  if (type === 'float32') return new Float32Array(length).fill(value);
  if (type === 'int32') return new Int32Array(length).fill(value);
  if (type === 'bool') return new Uint8Array(length).fill(value);
  return new BigInt64Array(length).fill(BigInt(value));
}
