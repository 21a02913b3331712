// Who trains: Attune, and what people would use instead, each in two ways where there is an easy one and a careful one.
import type { RoundPeer } from './train-round.ts';
import type { StepsPeer } from './train-steps.ts';

export const TRAIN_PEERS = ['attune', 'torch', 'torch:lean', 'trl', 'trl:tuned'];

type Named = { name: string };

/** Those of the names that can take part; without a Python it is Attune alone. */
export function listStepsPeers(names: string[], python: string | null): StepsPeer[] {
  const torch = { script: 'torch-train.py', python: python ?? '' };
  const peers: StepsPeer[] = [
    { name: 'attune', program: { script: 'attune-train.ts' }, variant: '', sharesPrompts: true },
    { name: 'torch', program: torch, variant: 'whole', sharesPrompts: false },
    { name: 'torch:lean', program: torch, variant: 'lean', sharesPrompts: false },
  ];
  return peers.filter((peer) => canTakePart(peer, names, python));
}

export function listRoundPeers(names: string[], python: string | null): RoundPeer[] {
  const trl = { script: 'trl-round.py', python: python ?? '' };
  const peers: RoundPeer[] = [
    { name: 'attune', program: { script: 'attune-round.ts' }, variant: '' },
    { name: 'trl', program: trl, variant: 'default' },
    { name: 'trl:tuned', program: trl, variant: 'tuned' },
  ];
  return peers.filter((peer) => canTakePart(peer, names, python));
}

/** The libraries whose products of matrices are measured. */
export function listLibraries(python: string | null) {
  return {
    'ONNX Runtime': { script: 'onnx-products.ts' },
    ...(python && { PyTorch: { script: 'torch-products.py', python } }),
  };
}

function canTakePart({ name }: Named, names: string[], python: string | null): boolean {
  return names.includes(name) && (python !== null || name === 'attune');
}
