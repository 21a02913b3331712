// The kinds of a package: a policy generates responses, a reward scores them. Ids tell them apart: `pol_…`, `rwd_…`.

export const PACKAGE_KINDS = ['policy', 'reward'] as const;
export type PackageKind = (typeof PACKAGE_KINDS)[number];

export function isRewardId(id: string): boolean {
  return id.startsWith('rwd_');
}
