// The frame of a view: its heading with what one can do, and panels.

import type { ComponentChildren } from 'preact';

type PageProps = {
  title: ComponentChildren;
  /** above the title: the view that this one is of */
  parent?: ComponentChildren;
  text?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
};

export function Page({ title, parent, text, actions, children }: PageProps) {
  return (
    <div class="view">
      <div class="view-head">
        <div>
          {parent && <p class="parent">{parent}</p>}
          <h1>{title}</h1>
          {text && <p class="quiet">{text}</p>}
        </div>
        {actions && <div class="actions">{actions}</div>}
      </div>
      {children}
    </div>
  );
}

type PanelProps = {
  title: string;
  hint?: ComponentChildren;
  actions?: ComponentChildren;
  class?: string;
  children: ComponentChildren;
};

export function Panel({ title, hint, actions, class: name, children }: PanelProps) {
  return (
    <section class={name ? `panel ${name}` : 'panel'} aria-label={title}>
      <div class="panel-head">
        <h2>{title}</h2>
        {hint && <p class="quiet">{hint}</p>}
        {actions && <div class="actions">{actions}</div>}
      </div>
      {children}
    </section>
  );
}

/** A number with its name. */
export function Stat({ label, value, hint }: { label: string; value: ComponentChildren; hint?: ComponentChildren }) {
  return (
    <div class="stat">
      <dt>{label}</dt>
      <dd>{value}</dd>
      {hint && <dd class="quiet">{hint}</dd>}
    </div>
  );
}

export function Stats({ children }: { children: ComponentChildren }) {
  return <dl class="stats">{children}</dl>;
}

export type Tone = 'good' | 'bad' | 'warn' | 'busy' | 'quiet';

/** Its text says what its colour does. */
export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}
