// The training peers: Attune on its own engine and on TensorFlow; PyTorch and TRL in a straightforward and an optimized
// variant.
import { findAddon } from '../../trainer/engine/devices/tensorflow/addon.ts';
import type { RoundPeer } from './train-round.ts';
import type { StepsPeer } from './train-steps.ts';

export const TRAIN_PEERS = ['attune', 'attune:tensorflow', 'torch', 'torch:lean', 'trl', 'trl:tuned'];

/** The named peers that are installed: Attune always, on TensorFlow and against PyTorch where those are. */
export function selectStepPeers(names: string[], python: string | null): StepsPeer[] {
  const torch = { script: 'torch-train.py', python: python ?? '' };
  const peers: StepsPeer[] = [
    { name: 'attune', program: { script: 'attune-train.ts' }, variant: '', sharesPrompts: true },
    {
      name: 'attune:tensorflow',
      program: { script: 'attune-train.ts' },
      variant: 'tensorflow',
      sharesPrompts: true,
    },
    { name: 'torch', program: torch, variant: 'whole', sharesPrompts: false },
    { name: 'torch:lean', program: torch, variant: 'lean', sharesPrompts: false },
  ];
  return peers.filter((peer) => isSelected(peer, names, python));
}

export function selectRoundPeers(names: string[], python: string | null): RoundPeer[] {
  const trl = { script: 'trl-round.py', python: python ?? '' };
  const peers: RoundPeer[] = [
    { name: 'attune', program: { script: 'attune-round.ts' }, variant: '' },
    { name: 'trl', program: trl, variant: 'default' },
    { name: 'trl:tuned', program: trl, variant: 'tuned' },
  ];
  return peers.filter((peer) => isSelected(peer, names, python));
}

/** The libraries whose matrix products are measured. */
export function matmulLibraries(python: string | null) {
  return {
    'ONNX Runtime': { script: 'onnx-matmul.ts' },
    ...(python && { PyTorch: { script: 'torch-matmul.py', python } }),
    ...(findAddon() && { TensorFlow: { script: 'tensorflow-matmul.ts' } }),
  };
}

function isSelected({ name }: { name: string }, names: string[], python: string | null): boolean {
  const isInstalled = name === 'attune:tensorflow' ? findAddon() !== null : name === 'attune' || python !== null;
  return names.includes(name) && isInstalled;
}
