// Whose preferences are listed: a rater by name, which is typed or chosen. End users are as many as a backend names, so that only
// the raters who were made here, and those of the rows that are shown, are suggested.

import { useEffect, useId, useState } from 'preact/hooks';
import { shortenId } from '../parts/links.tsx';
import { formatRater } from '../use-rater-names.ts';

type RaterFilterProps = {
  /** as preferences name it; '': any */
  value: string;
  /** those who were made here */
  named: readonly (readonly [id: string, name: string])[];
  /** of the rows that are shown */
  shown: readonly string[];
  onChange(rater: string): void;
};

export function RaterFilter({ value, named, shown, onChange }: RaterFilterProps) {
  const raters = labelRaters(named, value === '' ? shown : [value, ...shown]);
  const label = [...raters].find(([, id]) => id === value)?.[0] ?? '';
  const [text, setText] = useState(label);
  const list = useId();
  useEffect(() => setText(label), [label]);
  const choose = (typed: string) => onChange(findRater(raters, typed.trim()));
  return (
    <>
      <input
        aria-label="Rater"
        placeholder="Any rater"
        list={list}
        value={text}
        onInput={({ currentTarget: { value: typed } }) => {
          setText(typed);
          // An emptied field needs no Enter.
          if (typed === '') choose(typed);
        }}
        onChange={({ currentTarget: { value: typed } }) => choose(typed)}
      />
      <datalist id={list}>
        {[...raters.keys()].map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </>
  );
}

/** By their labels, each of one rater. */
function labelRaters(named: RaterFilterProps['named'], shown: readonly string[]): Map<string, string> {
  const raters = new Map<string, string>();
  const all = [...new Map([...shown.map((id) => [id, formatRater(id)] as const), ...named])];
  const counts = Map.groupBy(all, ([, name]) => name);
  for (const [id, name] of all) raters.set(counts.get(name)!.length === 1 ? name : `${name} (${shortenId(id)})`, id);
  return raters;
}

/** Somebody who is not suggested is an end user of a backend, unless the text is an id. */
function findRater(raters: Map<string, string>, text: string): string {
  if (text === '' || /^(user:|import:|rater_|key_)|^(anonymous|import)$/.test(text)) return text;
  return raters.get(text) ?? `user:${text}`;
}
