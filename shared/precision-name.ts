// The precisions at which a policy can be served. What each stores and computes is in shared/onnx/precision.

export const PRECISION_NAMES = ['fp32', 'row8', 'int8', 'int4'] as const;
export type PrecisionName = (typeof PRECISION_NAMES)[number];
