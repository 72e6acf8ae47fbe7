/** What the subjects begin with on which a client of NATS hears answers. */

/** What NATS clients put in front of an inbox, unless told otherwise. */
export const INBOX_PREFIX_DEFAULT = '_INBOX';

/** Tokens without wildcards. Subjects that begin with `$` are those of NATS itself. */
export const INBOX_PREFIX = /^[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,7}$/;
