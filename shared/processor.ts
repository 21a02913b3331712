// The processor's model and the vector instructions that ONNX Runtime's CPU kernels choose between. Which kernel runs
// decides speed, and for 8-bit weights also rounding.

import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';

/** Features by their flag in /proc/cpuinfo. */
const FEATURE_FLAGS = {
  AVX2: 'avx2',
  FMA: 'fma',
  'AVX-512': 'avx512f',
  'AVX-512 VNNI': 'avx512_vnni',
  'AVX-VNNI': 'avx_vnni',
  AMX: 'amx_tile',
} as const;

export type ProcessorFeature = keyof typeof FEATURE_FLAGS;

export const PROCESSOR_FEATURES = Object.keys(FEATURE_FLAGS) as ProcessorFeature[];

export type Processor = {
  model: string;
  /** Logical processors that this process may use. */
  cores: number;
  /** Null where they are unknown: not Linux on x64. */
  features: ReadonlySet<ProcessorFeature> | null;
};

/** The processor of this machine. */
export function readProcessor(): Processor {
  const { model, features } = parseCpuInfo(readCpuInfo());
  return { model: model ?? cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), features };
}

/** Model and features of the first processor in the text of /proc/cpuinfo. */
export function parseCpuInfo(text: string): { model: string | null; features: Processor['features'] } {
  const model = /^model name\s*:\s*(.+?)\s*$/m.exec(text)?.[1] ?? null;
  const flags = /^flags\s*:\s*(.+)$/m.exec(text)?.[1];
  if (flags === undefined) return { model, features: null };
  const present = new Set(flags.split(/\s+/));
  return { model, features: new Set(PROCESSOR_FEATURES.filter((feature) => present.has(FEATURE_FLAGS[feature]))) };
}

/** Whether 8-bit products are summed in 32 bits (VNNI, AMX). Without it, pairs are summed in 16 bits with saturation. */
export function hasInt8DotProduct({ features }: Pick<Processor, 'features'>): boolean | null {
  return features && (['AVX-512 VNNI', 'AVX-VNNI', 'AMX'] as const).some((feature) => features.has(feature));
}

function readCpuInfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return '';
  }
}
