// The languages of the pages, and which one this browser sees: the chosen one, or the first of its own that there is.

import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import { recall, remember } from '../storage.ts';
import { de } from './de.ts';
import { en, type Texts } from './en.ts';

export const LANGUAGES = { en, de };
export type Language = keyof typeof LANGUAGES;

const Context = createContext<Texts>(en);
export const TextsProvider = Context.Provider;
export const useTexts = () => useContext(Context);

export function findLanguage(): Language {
  const wanted = [recall<string>('language'), ...navigator.languages.map((tag) => tag.slice(0, 2))];
  return (wanted.find((name) => name !== null && name in LANGUAGES) as Language | undefined) ?? 'en';
}

export function chooseLanguage(language: Language): void {
  remember('language', language);
}
