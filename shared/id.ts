// Ids carry their type as a prefix and sort by creation time (UUIDv7): `pol_0192…`.

import { v7 } from 'uuid';

export type IdPrefix =
  | 'chatcmpl-'
  | 'cmpl-'
  | 'cmp_'
  | 'pref_'
  | 'fb_'
  | 'pol_'
  | 'rwd_'
  | 'round_'
  | 'req_'
  | 'evt_'
  | 'rater_'
  | 'ersr_'
  | 'audit_'
  | 'que_'
  | 'item_'
  | 'res_'
  | 'canary_';

/** A new id with its prefix, for example `pref_0192f0c1d2e37abc9def012345678901`. */
export function newId(prefix: IdPrefix): string {
  return prefix + v7().replaceAll('-', '');
}
