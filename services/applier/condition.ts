/** Whether this server's state goes on, and what it says of that on `<c>.admin.applied` and `<c>.admin.applied.<server>`. JSON. */
import type { NatsConnection } from '@nats-io/nats-core';
import { VERSION } from '../../shared/config/version.js';
import type { Index } from '../../shared/raft/entry.js';
import type { Subjects } from '../../shared/wire/subjects.js';

/** What keeps the state from going on, and since when. */
interface Trouble {
  readonly since: string;
  readonly error: string;
}

export interface ConditionOptions {
  readonly connection: NatsConnection;
  readonly subjects: Subjects;
  readonly server: string;
  /** Merged index of the last entry applied. */
  readonly applied: () => Index;
}

export class Condition {
  private trouble: Trouble | null = null;

  constructor(private readonly options: ConditionOptions) {
    const { connection, subjects, server } = options;
    for (const subject of [subjects.admin('applied'), subjects.admin('applied', server)]) {
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null && message.reply && subjects.isReply(message.reply)) {
            message.respond(JSON.stringify(this.status()));
          }
        },
      });
    }
  }

  failed(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    this.trouble = { since: this.trouble?.since ?? new Date().toISOString(), error: text };
  }

  recovered(): void {
    this.trouble = null;
  }

  status(): object {
    const { server, subjects, applied } = this.options;
    const trouble = this.trouble ?? {};
    return {
      server,
      cluster: subjects.cluster,
      version: VERSION,
      appliedIndex: applied(),
      ok: this.trouble === null,
      ...trouble,
    };
  }
}
