/**
 * Names of streams have the name of their cluster in capitals, so two clusters whose names differ
 * only in case would share them. Subjects have it as it is.
 */
import type { StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { OtherClusterError } from '../config/other-cluster.js';

/**
 * @param subject that the stream stores. @throws OtherClusterError when it stores the subjects of
 * another cluster.
 */
export function requireOwnStream({ config }: StreamInfo, subject: string): void {
  const found = clusterOf(config.subjects?.[0] ?? '');
  const given = clusterOf(subject);
  // One that stores no subject is a mirror, made by an operator.
  if (found === '' || found === given) return;
  throw new OtherClusterError(
    `the stream ${config.name}`,
    found,
    given,
    'give the clusters names that differ in more than case',
  );
}

/** For a new stream: it lies on a NATS server with all of these tags; none: on any. */
export function placementOn(tags: readonly string[]): Partial<Pick<StreamConfig, 'placement'>> {
  return tags.length === 0 ? {} : { placement: { cluster: '', tags: [...tags] } };
}

function clusterOf(subject: string): string {
  return subject.split('.')[0] ?? '';
}
