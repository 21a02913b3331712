import type { Story } from './story.ts';
export function writeReport(story: Story): string {
  return JSON.stringify(story);
}
