// A step of the welcome, which checks itself when it has happened.

import type { ComponentChildren } from 'preact';

type StepProps = {
  number: number;
  title: string;
  text: ComponentChildren;
  isDone: boolean;
  children: ComponentChildren;
};

export function Step({ number, title, text, isDone, children }: StepProps) {
  return (
    <li class={isDone ? 'step done' : 'step'}>
      <span class="step-mark" aria-hidden="true">
        {isDone ? '✓' : number}
      </span>
      <div class="step-body">
        <h2>
          {title}
          {isDone && <span class="hidden">, done</span>}
        </h2>
        <p class="quiet">{text}</p>
        {children}
      </div>
    </li>
  );
}
