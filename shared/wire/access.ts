/**
 * Who a client of NATS is, and how the way there is protected: credentials and certificates. And
 * why it was not let in, in words.
 */
import { readFile } from 'node:fs/promises';
import { type ConnectionOptions, credsAuthenticator, nkeyAuthenticator, tokenAuthenticator } from 'nats';

/**
 * Besides user and password, which are part of an address. All files are read anew for each
 * connection.
 */
export interface NatsAccess {
  /** A credentials file: a JWT and its seed. */
  readonly natsCreds?: string | undefined;
  /** A file with the seed of an NKey. */
  readonly natsNkey?: string | undefined;
  readonly natsToken?: string | undefined;
  /**
   * PEM files: the authority that has signed the server's certificate, and this client's own
   * certificate with its key.
   */
  readonly natsTlsCa?: string | undefined;
  readonly natsTlsCert?: string | undefined;
  readonly natsTlsKey?: string | undefined;
}

/** @throws Error for a file that cannot be read, with its path. */
export async function accessOptions(
  access: NatsAccess,
  servers: readonly string[],
): Promise<Pick<ConnectionOptions, 'authenticator' | 'tls'>> {
  const { natsCreds, natsNkey, natsToken, natsTlsCa, natsTlsCert, natsTlsKey } = access;
  const authenticator =
    (natsCreds !== undefined && credsAuthenticator(await readFile(natsCreds))) ||
    (natsNkey !== undefined && nkeyAuthenticator(seedOf(await readFile(natsNkey)))) ||
    (natsToken !== undefined && tokenAuthenticator(natsToken));
  const files = [natsTlsCa, natsTlsCert, natsTlsKey];
  const wantsTls = files.some((file) => file !== undefined) || servers.some((server) => server.startsWith('tls://'));
  const [ca, cert, key] = await Promise.all(files.map(readPem));
  const tls = { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  return { ...(authenticator && { authenticator }), ...(wantsTls && { tls }) };
}

async function readPem(file: string | undefined): Promise<string | undefined> {
  return file === undefined ? undefined : readFile(file, 'utf8');
}

/** Of a file as `nk` and `nsc` write it: comments and lines around the seed. */
function seedOf(file: Buffer): Uint8Array {
  const [seed = file.toString().trim()] = /\bS[UACNO][A-Z2-7]{56}\b/.exec(file.toString()) ?? [];
  return new TextEncoder().encode(seed);
}

/**
 * What to look at, by what the error says. The names of settings are those of services; options of
 * `craft` are called alike.
 */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/altname|does not match certificate/i, 'the certificate of NATS is not for this address: use a name that it has'],
  [
    /self[- ]signed|unable to (?:verify|get)|issuer certificate|CERT_UNTRUSTED/i,
    'the certificate of NATS was signed by an unknown authority: set CRAFT_NATS_TLS_CA to its CA',
  ],
  [/has expired|not yet valid/i, 'the certificate of NATS is not valid now: renew it, or set the clock right'],
  [
    /does not support 'tls'/i,
    'NATS offers no TLS: leave out tls:// and the CRAFT_NATS_TLS_ settings, or configure TLS there',
  ],
  [
    /authorization|authentication|nkey/i,
    'NATS refuses these credentials: check user and password, CRAFT_NATS_CREDS, CRAFT_NATS_NKEY, CRAFT_NATS_TOKEN',
  ],
  [/refused/i, 'NATS does not run there, or the address is wrong'],
  [/ENOTFOUND|EAI_AGAIN|getaddrinfo/i, 'the name of the host is not known'],
  [
    /timeout|alert|ECONNRESET|EPIPE|closed/i,
    'NATS does not answer: it hangs, a firewall blocks it, or it wants another certificate (CRAFT_NATS_TLS_CERT, CRAFT_NATS_TLS_KEY)',
  ],
];

/** Why there is no connection, and what to do, in one line without secrets. */
export function whyNoConnection(error: unknown): string {
  const chain: string[] = [];
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    const { code } = at as NodeJS.ErrnoException;
    chain.push(code === undefined || at.message.includes(String(code)) ? at.message : `${code}: ${at.message}`);
  }
  const said = chain.length === 0 ? String(error) : [...new Set(chain)].join(': ');
  const [, hint] = REASONS.find(([pattern]) => pattern.test(said)) ?? [];
  return hint === undefined ? said : `${hint} (${said})`;
}
