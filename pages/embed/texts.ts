// Every text of <attune-compare>. A page replaces one by an attribute: text-tie="Cannot say".

export type Texts = {
  title: string;
  prompt: string;
  'side-a': string;
  'side-b': string;
  votes: string;
  'vote-a': string;
  'vote-b': string;
  tie: string;
  'both-bad': string;
  loading: string;
  thanks: string;
  undone: string;
  undo: string;
  retry: string;
  used: string;
  voted: string;
  expired: string;
  missing: string;
  failed: string;
};

export const TEXTS: Record<string, Texts> = {
  en: {
    title: 'Which answer is better?',
    prompt: 'Your question',
    'side-a': 'Answer A',
    'side-b': 'Answer B',
    votes: 'Your vote',
    'vote-a': 'A is better',
    'vote-b': 'B is better',
    tie: 'Equally good',
    'both-bad': 'Both are bad',
    loading: 'Loading the answers …',
    thanks: 'Thank you. Your vote is saved.',
    undone: 'Your vote is taken back.',
    undo: 'Undo',
    retry: 'Try again',
    used: 'Your vote has been used, and cannot be changed any more.',
    voted: 'You have voted on these answers already.',
    expired: 'This comparison has expired. Reload the page to vote.',
    missing: 'This comparison does not exist any more.',
    failed: 'The server cannot be reached.',
  },
  de: {
    title: 'Welche Antwort ist besser?',
    prompt: 'Ihre Frage',
    'side-a': 'Antwort A',
    'side-b': 'Antwort B',
    votes: 'Ihre Stimme',
    'vote-a': 'A ist besser',
    'vote-b': 'B ist besser',
    tie: 'Gleich gut',
    'both-bad': 'Beide sind schlecht',
    loading: 'Die Antworten werden geladen …',
    thanks: 'Danke. Ihre Stimme ist gespeichert.',
    undone: 'Ihre Stimme ist zurückgenommen.',
    undo: 'Rückgängig',
    retry: 'Noch einmal versuchen',
    used: 'Ihre Stimme wurde verwendet und lässt sich nicht mehr ändern.',
    voted: 'Sie haben über diese Antworten schon abgestimmt.',
    expired: 'Dieser Vergleich ist abgelaufen. Laden Sie die Seite neu, um abzustimmen.',
    missing: 'Diesen Vergleich gibt es nicht mehr.',
    failed: 'Der Server ist nicht erreichbar.',
  },
};

/** Of the language of the element or the page around it; English if there is none. */
export function findTexts(element: Element): Texts {
  const language = element.closest('[lang]')?.getAttribute('lang') ?? '';
  return TEXTS[language.slice(0, 2).toLowerCase()] ?? TEXTS.en!;
}
