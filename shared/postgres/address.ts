/**
 * Certificates of a database's address, as libpq names them: `sslrootcert`, `sslcert` and `sslkey`,
 * files in PEM. The driver itself knows `sslmode` only, and trusts the authorities of Node.js.
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
 * What the driver is given. With an authority the certificate of Postgres must be of that one, and
 * for one of the hosts of the address unless `sslmode` is `verify-ca`; `disable` leaves TLS out.
 * The files are read each time.
 * @throws Error for a file that cannot be read, with its path.
 */
export function databaseAddress(url: string): DatabaseAddress {
  const [given = '', query = ''] = url.split(/\?(.*)/s);
  const place = withPlainAuthority(given);
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
  // The driver gives Node.js no name when the host is an IP address, and Node.js then looks for
  // `localhost`.
  else ssl.checkServerIdentity = (_, certificate) => firstMismatch(hosts, certificate);
  return { url: `${place}?${parameters}`, ssl };
}

/** Where a database is, without credentials. */
export interface DatabasePlace {
  /** Hosts with their ports, and the database, for people. */
  readonly name: string;
  /** Without ports; an empty one for a socket of this machine. */
  readonly hosts: readonly string[];
}

/**
 * Nothing of the password is in it. An `@` after the authority may belong to a password with `/`,
 * `?` or `#`, of which the rest would be taken for host and database.
 * @throws TypeError without any part of the address, when it is none of Postgres, or when an `@`
 *   comes after the authority.
 */
export function databasePlace(url: string): DatabasePlace {
  const { scheme, authority, rest } = partsOf(url);
  if (!/^postgres(?:ql)?:\/\/$/.test(scheme) || rest.includes('@')) throw new TypeError('no address of Postgres');
  const database = rest.replace(/^\//, '').replace(/[?#].*$/s, '');
  return { name: `${authority || 'local socket'}/${database}`, hosts: authority.split(',').map(withoutPort) };
}

interface AddressParts {
  /** With `://`. */
  readonly scheme: string;
  /** User and password; undefined when there are none. */
  readonly credentials: string | undefined;
  /** One host or several, with their ports. */
  readonly authority: string;
  /** Path, parameters and fragment. */
  readonly rest: string;
}

/**
 * As the URL standard does: hosts begin after the last `@` that comes before any `/`, `?` and `#`.
 */
function partsOf(url: string): AddressParts {
  const [, scheme = '', before = '', rest = ''] = /^([a-z][a-z0-9+.-]*:\/\/)?([^/?#]*)(.*)$/is.exec(url) ?? [];
  const at = before.lastIndexOf('@');
  return { scheme, credentials: at < 0 ? undefined : before.slice(0, at), authority: before.slice(at + 1), rest };
}

/** The driver looks for several hosts after the first `@`, which may be one of the password. */
function withPlainAuthority(place: string): string {
  const { scheme, credentials, authority, rest } = partsOf(place);
  if (credentials === undefined) return place;
  return `${scheme}${credentials.replaceAll('@', '%40')}@${authority}${rest}`;
}

/** Of an address that may have several, with commas between. */
function hostsOf(place: string): string[] {
  return partsOf(place)
    .authority.split(',')
    .map((host) => withoutPort(host).replace(/^\[(.*)\]$/, '$1'));
}

function withoutPort(host: string): string {
  return host.replace(/:\d+$/, '');
}

/** Undefined when the certificate is for one of them. */
function firstMismatch(hosts: readonly string[], certificate: PeerCertificate): Error | undefined {
  const mismatches = hosts.map((host) => checkServerIdentity(host, certificate));
  return mismatches.includes(undefined) ? undefined : mismatches[0];
}
