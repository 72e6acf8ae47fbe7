/** What servers of a test say in their metrics. */
import { requireFreePort } from '../../deploy/local/ports.js';
import { eventually } from './eventually.js';
import { freePorts } from './servers.js';

type Labels = Readonly<Record<string, string>>;

/** The first of so many free ports in a row: for `metricsPort` of a local cluster. */
export async function freePortRow(count: number): Promise<number> {
  return eventually(`${count} free ports in a row`, async () => {
    const [first = 0] = await freePorts(1);
    for (let port = first; port < first + count; port++) await requireFreePort(port, 'metrics of a test', '');
    return first;
  });
}

/**
 * The sum of the series of a metric that have these labels, among others; undefined: there are
 * none.
 */
export function sumOf(text: string, name: string, labels: Labels = {}): number | undefined {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const found = text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && wanted.every((one) => line.includes(one)));
  return found.length === 0 ? undefined : found.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** Waits until a metric at this address is above a number: what its alert says is true. */
export async function expectAbove(url: string | undefined, above: number, name: string, labels: Labels = {}) {
  await eventually(`${name} above ${above} at ${url}`, async () => {
    const sum = sumOf(await (await fetch(url ?? '')).text(), name, labels);
    return sum !== undefined && sum > above;
  });
}
