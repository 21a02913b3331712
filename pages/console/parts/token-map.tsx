// A text as its tokens, each with a colour for its value. What a token's value is made of is shown under the pointer, and for
// the keyboard, which the map is one stop of: arrows go from token to token.

import './token-map.css';
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

/** `tone`: a class of token-map.css. `label`: the value, for screen readers. */
export type MapToken = { text: string; tone: string; label: string };

type TokenMapProps = {
  name: string;
  tokens: MapToken[];
  /** what is shown of one token */
  describe(at: number): ComponentChildren;
};

export function TokenMap({ name, tokens, describe }: TokenMapProps) {
  const id = useId();
  const box = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const [active, setActive] = useState<number | null>(null);
  useEffect(() => setActive(null), [tokens]);

  const words = useMemo(
    () =>
      tokens.map(({ text, tone, label }, at) => (
        <span
          key={at}
          id={`${id}-${at}`}
          data-at={at}
          role="option"
          aria-selected={false}
          aria-label={`${text.trim() || 'space'}, ${label}`}
          tabIndex={-1}
          class={`token ${tone}`}
        >
          {text.replaceAll('\n', '↵\n')}
        </span>
      )),
    [tokens, id],
  );

  useLayoutEffect(() => {
    if (active === null) return;
    const token = box.current!.children[active] as HTMLElement | undefined;
    if (!token) return;
    token.classList.add('active');
    place(tip.current!, token, box.current!);
    return () => token.classList.remove('active');
  }, [active, tokens]);

  const point = (event: PointerEvent) => {
    const at = (event.target as Element).closest<HTMLElement>('[data-at]')?.dataset.at;
    if (at !== undefined) setActive(Number(at));
  };
  const press = (event: KeyboardEvent) => {
    const next = event.key === 'Escape' ? null : findNext(event.key, active ?? -1, box.current!);
    if (next === undefined) return;
    event.preventDefault();
    setActive(next);
  };
  return (
    <div class="token-map">
      <div
        ref={box}
        class="tokens"
        role="listbox"
        aria-label={`${name}; arrow keys go from token to token`}
        aria-activedescendant={active === null ? undefined : `${id}-${active}`}
        tabIndex={0}
        dir="auto"
        onPointerOver={point}
        onPointerLeave={() => setActive(null)}
        onFocus={() => setActive((before) => before ?? 0)}
        onBlur={() => setActive(null)}
        onKeyDown={press}
      >
        {words}
      </div>
      <div ref={tip} class="tip" hidden={active === null || active >= tokens.length} aria-hidden="true">
        {active !== null && active < tokens.length && describe(active)}
      </div>
    </div>
  );
}

/** Below the token, and within the map. */
function place(tip: HTMLElement, token: HTMLElement, box: HTMLElement): void {
  const rects = token.getClientRects();
  const rect = rects[rects.length - 1];
  if (!rect) return;
  const outer = box.getBoundingClientRect();
  const left = Math.min(rect.left - outer.left, outer.width - tip.offsetWidth);
  tip.style.left = `${Math.max(0, left)}px`;
  tip.style.top = `${rect.bottom - outer.top + 6}px`;
}

/** Undefined: the key is for something else. */
function findNext(key: string, at: number, box: HTMLElement): number | undefined {
  const count = box.children.length;
  const clamp = (index: number) => Math.max(0, Math.min(count - 1, index));
  if (key === 'ArrowRight') return clamp(at + 1);
  if (key === 'ArrowLeft') return clamp(at - 1);
  if (key === 'Home') return 0;
  if (key === 'End') return count - 1;
  if (key !== 'ArrowDown' && key !== 'ArrowUp') return undefined;
  const step = key === 'ArrowDown' ? 1 : -1;
  const from = (box.children[clamp(at)] as HTMLElement).getBoundingClientRect();
  let found = clamp(at);
  let line: number | null = null;
  for (let next = at + step; next >= 0 && next < count; next += step) {
    const rect = (box.children[next] as HTMLElement).getBoundingClientRect();
    if (Math.abs(rect.top - from.top) < rect.height / 2) continue;
    line ??= rect.top;
    if (Math.abs(rect.top - line) > rect.height / 2) break;
    found = next;
    if (step === 1 ? rect.right > from.left : rect.left <= from.left) break;
  }
  return found;
}

/** In a tip: the token, and its numbers. */
export function TipRows({ title, rows }: { title?: string; rows: [name: string, value: string][] }) {
  return (
    <>
      {title !== undefined && <code>{title === '' ? '(nothing)' : title.replaceAll('\n', '↵')}</code>}
      <dl>
        {rows.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

export function Legend({ name, steps }: { name: string; steps: [tone: string, label: string][] }) {
  return (
    <ul class="legend" aria-label={name}>
      {steps.map(([tone, label]) => (
        <li key={tone}>
          <span class={`swatch ${tone}`} />
          {label}
        </li>
      ))}
    </ul>
  );
}
