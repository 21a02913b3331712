// How far this rater and all raters are.

import type { QueueProgress } from '../api.ts';
import type { Texts } from '../texts/en.ts';
import { useTexts } from '../texts/texts.ts';

export function Progress({ progress }: { progress: QueueProgress }) {
  const texts = useTexts();
  const { mine, team, seconds_left_mine: left, calibration } = progress;
  const count = (value: number) => value.toLocaleString(document.documentElement.lang);
  const isPractice = calibration !== null && calibration.done < calibration.items;
  return (
    <p class="progress quiet">
      {isPractice ? (
        <span>{texts.progressPractice(count(calibration.done), count(calibration.items))}</span>
      ) : (
        <>
          <span>{texts.progressMine(count(mine.done))}</span>
          {left !== null && left > 0 && <span>{texts.progressLeft(toDuration(left, texts))}</span>}
        </>
      )}
      <span class="team">{texts.progressTeam(count(team.done), count(team.needed))}</span>
      <progress value={team.done} max={Math.max(team.needed, 1)} aria-label={texts.progressBar} />
    </p>
  );
}

function toDuration(seconds: number, texts: Texts): string {
  const minutes = Math.round(seconds / 60);
  if (minutes < 2) return texts.lessThanMinute;
  return minutes < 90 ? texts.minutes(String(minutes)) : texts.hours(String(Math.round(minutes / 6) / 10));
}
