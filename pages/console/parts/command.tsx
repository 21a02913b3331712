// A command or a piece of code, with a button that copies it.

import { useRef, useState } from 'preact/hooks';

export function Command({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [isCopied, setCopied] = useState(false);
  const code = useRef<HTMLPreElement>(null);
  const copy = async () => {
    // Over plain HTTP from another machine there is no clipboard: it is selected, for Ctrl-C.
    if (!navigator.clipboard) return getSelection()?.selectAllChildren(code.current!);
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <div class="command">
      <pre ref={code}>{text}</pre>
      <button type="button" class="plain" onClick={copy}>
        {isCopied ? 'Copied' : label}
      </button>
    </div>
  );
}
