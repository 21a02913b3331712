// attune webhooks: lists the events of the last three days, and sends one again.

import { type Command, Option } from 'commander';
import { COMMAND } from '../shared/access/audit.ts';
import type { WebhookEvent } from '../shared/webhooks/delivery.ts';
import { EVENT_STATES, type EventState, getEventState, listEvents, resendEvent } from '../shared/webhooks/outbox.ts';
import { withContext } from './context.ts';
import { formatMinute, printTable } from './print-table.ts';

const MAX_LISTED = 1000;

export function addWebhooks(program: Command): void {
  const group = program
    .command('webhooks')
    .description('list the events for WEBHOOK_URL, and send one again')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune webhooks list --state given_up\n  $ npx attune webhooks resend evt_…\n',
    );

  group
    .command('list')
    .addOption(new Option('--state <state>', 'only those in this state').choices(EVENT_STATES))
    .description('list the events of the last three days, newest first')
    .action(({ state }: { state?: EventState }) =>
      withContext(async ({ db }, _, { settings }) => {
        const rows = await listEvents(db, { state, limit: MAX_LISTED });
        if (rows.length === 0) return console.log(`no ${state ? `${state} ` : ''}events in the last three days`);
        printTable(['id', 'time', 'type', 'state', 'attempts', 'last error'], rows.map(listCells));
        if (!settings.WEBHOOK_URL && rows.some((row) => getEventState(row) === 'pending'))
          console.log('WEBHOOK_URL is not set: pending events wait for a server that has it, for three days');
      }),
    );

  group
    .command('resend')
    .argument('<id>', 'id of the event')
    .description('send an event again, with its id, whatever became of it; its attempts begin anew')
    .action((id: string) =>
      withContext(async ({ db }, _, { settings }) => {
        await db.transaction((transaction) => resendEvent(transaction, id, COMMAND));
        const where = settings.WEBHOOK_URL ? '' : ' once WEBHOOK_URL is set';
        console.log(`${id} is due; a running server sends it${where}`);
      }),
    );
}

function listCells(event: WebhookEvent): string[] {
  const { id, created_at, type, attempts, last_error } = event;
  return [id, formatMinute(created_at), type, getEventState(event), String(attempts), last_error ?? ''];
}
