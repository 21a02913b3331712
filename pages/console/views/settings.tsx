// What is in force on the server that answers, and where each setting is from; and the events that webhooks got.

import '../settings/settings.css';
import { Segments } from '../parts/field.tsx';
import { Page } from '../parts/page.tsx';
import type { ViewProps } from '../session.ts';
import { SettingList } from '../settings/setting-list.tsx';
import { WebhookEvents } from '../settings/webhook-events.tsx';
import { useFilters } from '../use-filters.ts';

export default function View(_: ViewProps) {
  const { values, set } = useFilters('show');
  const isWebhooks = values.show === 'webhooks';
  return (
    <Page
      title="Settings"
      text="Settings come from the environment when the server starts; nothing here changes them."
      actions={
        <Segments
          label="Show"
          value={isWebhooks ? 'webhooks' : 'settings'}
          options={[
            ['settings', 'In force'],
            ['webhooks', 'Webhook events'],
          ]}
          onChange={(show) => set({ show: show === 'webhooks' ? show : '' })}
        />
      }
    >
      {isWebhooks ? <WebhookEvents /> : <SettingList />}
    </Page>
  );
}
