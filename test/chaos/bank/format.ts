/**
 * What clients of the bank saw, one event a line (JSON), in the order of time (microseconds on the
 * clock of the registers' history):
 *
 *     {"type":"invoke","process":0,"time":1200,"f":"transfer","id":"bank-0-1","from":2,"to":0,"amount":5,"versions":[3,7]}
 *     {"type":"ok","process":0,"time":3400,"f":"transfer","id":"bank-0-1","versions":[4,8],"group":2,"timestamp":1790000000000123,"index":42}
 *     {"type":"invoke","process":1,"time":3500,"f":"read"}
 *     {"type":"ok","process":1,"time":4100,"f":"read","accounts":[{"balance":10,"version":1,"by":""}, …]}
 *
 * `versions`: of the two accounts, as the transfer expects them (`invoke`), or leaves them (`ok`).
 * `by`: the id of the transfer that wrote the balance. `fail` and `unknown` carry an `error`;
 * attempts of one id are one transfer (T8).
 */

export interface Account {
  readonly balance: number;
  readonly version: number;
  readonly by: string;
}

export interface Transfer {
  readonly id: string;
  readonly from: number;
  readonly to: number;
  readonly amount: number;
  /** Of `from` and `to`. */
  readonly versions: readonly [from: number, to: number];
}

interface At {
  readonly process: number;
  readonly time: number;
}

export type BankEvent = At &
  (
    | ({ readonly type: 'invoke'; readonly f: 'transfer' } & Transfer)
    | {
        readonly type: 'ok';
        readonly f: 'transfer';
        readonly id: string;
        readonly versions: readonly number[];
        readonly group: number | undefined;
        readonly timestamp: number | undefined;
        readonly index: number | undefined;
      }
    | { readonly type: 'fail' | 'unknown'; readonly f: 'transfer'; readonly id: string; readonly error: string }
    | { readonly type: 'invoke'; readonly f: 'read' }
    | { readonly type: 'ok'; readonly f: 'read'; readonly accounts: readonly Account[] }
    | { readonly type: 'fail' | 'unknown'; readonly f: 'read'; readonly error: string }
  );
