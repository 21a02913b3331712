// The list of keys, and the switch that turns the letters off.

import { useState } from 'preact/hooks';
import { Dialog } from '../dialog.tsx';
import { useTexts } from '../texts/texts.ts';
import { areKeysOn, switchKeys } from './keys.ts';

export function KeysHelp({ onClose }: { onClose(): void }) {
  const texts = useTexts();
  const [isOn, setOn] = useState(areKeysOn);
  const { keyOf } = texts;
  const rows: [string[], string][] = [
    [['a'], keyOf.a],
    [['b'], keyOf.b],
    [['t'], keyOf.t],
    [['x'], keyOf.x],
    [['s'], keyOf.s],
    [['1', '2', '3'], keyOf.strength],
    [['e'], keyOf.e],
    [['c'], keyOf.c],
    [['r'], keyOf.r],
    [['↵'], keyOf.enter],
    [['Ctrl', '↵'], keyOf.ctrlEnter],
    [['Esc'], keyOf.escape],
    [['z'], keyOf.z],
    [['g'], keyOf.g],
    [['?'], keyOf.help],
  ];
  return (
    <Dialog title={texts.keys} onClose={onClose}>
      <dl class="keys">
        {rows.map(([keys, text]) => (
          <div key={text}>
            <dt>
              {keys.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <label class="switch">
        <input
          type="checkbox"
          checked={isOn}
          onChange={(event) => {
            switchKeys(event.currentTarget.checked);
            setOn(event.currentTarget.checked);
          }}
        />
        {texts.keysUse}
      </label>
    </Dialog>
  );
}
