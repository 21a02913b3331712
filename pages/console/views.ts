// The views of the console, by address. Each is loaded when it is first shown.

import type { ComponentType } from 'preact';
import type { ViewProps } from './session.ts';

export type View = {
  /** the address is /console/{name}, or /console/{name}/{id} */
  name: string;
  title: string;
  /** in the navigation; a view without a group is reached from others */
  group: 'Loop' | 'People' | 'Try' | 'Administer';
  /** who may see it: one of these scopes; default: read */
  scopes?: string[];
  load(): Promise<{ default: ComponentType<ViewProps> }>;
};

export const VIEWS: View[] = [
  { name: 'now', title: 'Now', group: 'Loop', load: () => import('./views/now.tsx') },
  { name: 'rounds', title: 'Rounds', group: 'Loop', load: () => import('./views/rounds.tsx') },
  { name: 'policies', title: 'Policies', group: 'Loop', load: () => import('./views/policies.tsx') },
  { name: 'canaries', title: 'Canaries', group: 'Loop', load: () => import('./views/canaries.tsx') },
  { name: 'preferences', title: 'Preferences', group: 'People', load: () => import('./views/preferences.tsx') },
  { name: 'queues', title: 'Raters and queues', group: 'People', load: () => import('./views/queues.tsx') },
  { name: 'leaderboard', title: 'Leaderboard', group: 'People', load: () => import('./views/leaderboard.tsx') },
  {
    name: 'playground',
    title: 'Playground',
    group: 'Try',
    scopes: ['generate'],
    load: () => import('./views/playground.tsx'),
  },
  { name: 'keys', title: 'Keys', group: 'Administer', scopes: ['admin'], load: () => import('./views/keys.tsx') },
  { name: 'audit', title: 'Audit', group: 'Administer', scopes: ['admin'], load: () => import('./views/audit.tsx') },
  {
    name: 'settings',
    title: 'Settings',
    group: 'Administer',
    scopes: ['operate'],
    load: () => import('./views/settings.tsx'),
  },
];
