// Keys of the whole page. They are silent while somebody types, beside Ctrl, Alt and the like, while a dialog is open, and where
// they were switched off (assistive software may need the letters).

import { useEffect, useRef } from 'preact/hooks';
import { recall, remember } from '../storage.ts';

/** By the key as the event names it. `Mod+Enter` is the only one that works while typing. */
export type KeyMap = Record<string, (() => void) | undefined>;

export function areKeysOn(): boolean {
  return recall<boolean>('keys') ?? true;
}

export function switchKeys(isOn: boolean): void {
  remember('keys', isOn);
}

export function useKeys(keys: KeyMap): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const work = findWork(latest.current, event);
      if (!work) return;
      event.preventDefault();
      work();
    };
    document.addEventListener('keydown', listen);
    return () => document.removeEventListener('keydown', listen);
  }, []);
}

function findWork(keys: KeyMap, event: KeyboardEvent): (() => void) | undefined {
  const { key, ctrlKey, metaKey, altKey, repeat, isComposing, defaultPrevented } = event;
  if (repeat || isComposing || defaultPrevented || document.querySelector('dialog[open]')) return;
  if (key === 'Enter' && (ctrlKey || metaKey)) return keys['Mod+Enter'];
  if (ctrlKey || metaKey || altKey) return;
  const target = event.target as HTMLElement;
  if (isTyping(target)) {
    if (key === 'Escape') target.blur();
    return;
  }
  // Enter is the key of the button or link that has the focus.
  if (key === 'Enter' && target.closest('button, a, summary, select')) return;
  if (key.length === 1 && !areKeysOn()) return;
  return keys[key.length === 1 ? key.toLowerCase() : key];
}

function isTyping(target: HTMLElement): boolean {
  if (target.matches('textarea, select') || target.isContentEditable) return true;
  return target.matches('input') && !/^(radio|checkbox)$/.test((target as HTMLInputElement).type);
}
