/**
 * Certificates of a database's address, as libpq names them: `sslrootcert`, `sslcert` and `sslkey`, files in PEM. The driver itself knows
 * `sslmode` only, and trusts the authorities of Node.js.
 */
import { readFileSync } from 'node:fs';
import { type ConnectionOptions, checkServerIdentity, type PeerCertificate } from 'node:tls';

export interface DatabaseAddress {
  readonly url: string;
  /** As for `tls.connect`; undefined: as the driver reads it from the address. */
  readonly ssl?: ConnectionOptions;
}

const FILES = { sslrootcert: 'ca', sslcert: 'cert', sslkey: 'key' } as const;

/**
 * What the driver is given. With an authority the certificate of Postgres must be of that one, and for one of the hosts of the address
 * unless `sslmode` is `verify-ca`; `disable` leaves TLS out. The files are read each time.
 * @throws Error for a file that cannot be read, with its path.
 */
export function databaseAddress(url: string): DatabaseAddress {
  const [place = '', query = ''] = url.split(/\?(.*)/s);
  const parameters = new URLSearchParams(query);
  const mode = parameters.get('sslmode');
  const hasAuthority = parameters.has('sslrootcert');
  const ssl: ConnectionOptions = {};
  for (const [name, key] of Object.entries(FILES)) {
    const path = parameters.get(name);
    if (path === null) continue;
    // `system` is a word of its own: the authorities that Node.js trusts.
    if (mode !== 'disable' && path !== 'system') ssl[key] = readFileSync(path);
    parameters.delete(name);
  }
  const isLooked = mode?.startsWith('verify-') === true || (mode !== 'disable' && hasAuthority);
  if (!isLooked && Object.keys(ssl).length === 0)
    return { url: `${place}${parameters.size === 0 ? '' : `?${parameters}`}` };
  parameters.delete('sslmode');
  const hosts = hostsOf(place);
  if (!isLooked) ssl.rejectUnauthorized = false;
  else if (mode === 'verify-ca') ssl.checkServerIdentity = () => undefined;
  // The driver gives Node.js no name when the host is an IP address, and Node.js then looks for `localhost`.
  else ssl.checkServerIdentity = (_, certificate) => firstMismatch(hosts, certificate);
  return { url: `${place}?${parameters}`, ssl };
}

/** Of an address that may have several, with commas between. */
function hostsOf(place: string): string[] {
  const [, authority = ''] = /^[^:]+:\/\/(?:[^@/]*@)?([^/]*)/.exec(place) ?? [];
  return authority.split(',').map((host) => host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1'));
}

/** Undefined when the certificate is for one of them. */
function firstMismatch(hosts: readonly string[], certificate: PeerCertificate): Error | undefined {
  const mismatches = hosts.map((host) => checkServerIdentity(host, certificate));
  return mismatches.includes(undefined) ? undefined : mismatches[0];
}
