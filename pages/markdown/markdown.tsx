// A text as markdown. It may grow while it is shown.

import './markdown.css';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { renderFormulas } from './math.ts';
import { renderMarkdown } from './render.ts';

export function Markdown({ text }: { text: string }) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const content = renderMarkdown(text);
    renderFormulas(content);
    box.current!.replaceChildren(content);
  }, [text]);
  return <div class="markdown" dir="auto" ref={box} />;
}
