/** Certificates for tests of TLS, in PEM. */
import selfsigned from 'selfsigned';

export interface Certificate {
  readonly cert: string;
  readonly private: string;
}

const named = (value: string) => [{ name: 'commonName', value }];

/** A certificate of no authority. */
export function stranger(): Promise<Certificate> {
  return selfsigned.generate(named('other'), { algorithm: 'sha256' });
}

/**
 * An authority of its own: its certificate, and what signs others for servers and clients on these
 * names and addresses.
 */
export async function authority(
  altNames: readonly ({ readonly type: 2; readonly value: string } | { readonly type: 7; readonly ip: string })[],
): Promise<{ readonly cert: string; readonly sign: (name: string) => Promise<Certificate> }> {
  const ca = await selfsigned.generate(named('authority'), {
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, digitalSignature: true, critical: true },
    ],
  });
  const sign = (name: string) =>
    selfsigned.generate(named(name), {
      algorithm: 'sha256',
      ca: { key: ca.private, cert: ca.cert },
      extensions: [
        { name: 'subjectAltName', altNames: [...altNames] },
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
      ],
    });
  return { cert: ca.cert, sign };
}
