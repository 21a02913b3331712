// Light or dark: as the system, unless chosen otherwise. The style sheet reads it from the root element.

import { recall, remember } from './storage.ts';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

export function findTheme(): Theme {
  const theme = recall<Theme>('theme');
  return theme && THEMES.includes(theme) ? theme : 'system';
}

export function showTheme(theme: Theme): void {
  remember('theme', theme);
  document.documentElement.dataset.theme = theme;
}
