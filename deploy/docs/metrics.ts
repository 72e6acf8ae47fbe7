/** The table of Prometheus metrics in Markdown, from the calls that open them. Pure. */

/** A file of a service. */
export interface Source {
  /** From the folder of the project. */
  readonly path: string;
  readonly text: string;
}

const OPENED = /\bmetrics\.(counter|gauge|histogram)(?:By)?\(\s*'(\w+)',\s*'([^']+)'/g;
const ANY_OPENED = /\bmetrics\.(?:counter|gauge|histogram)(?:By)?\(/g;

/** A row for each metric, service by service. @throws Error when one is opened in another way than with its name and help as texts. */
export function metricsTable(sources: readonly Source[]): string {
  const rows = sources.flatMap(({ path, text }) => {
    const found = [...text.matchAll(OPENED)];
    const count = text.match(ANY_OPENED)?.length ?? 0;
    if (found.length !== count) throw new Error(`${path} opens ${count} metrics, of which ${found.length} can be read`);
    return found.map(([, type, name, help]) => `| ${serviceOf(path)} | \`craft_${name}\` | ${type} | ${help} |`);
  });
  return ['| service | metric | type | what |', '|---|---|---|---|', ...rows.sort()].join('\n');
}

function serviceOf(path: string): string {
  return /^services\/([^/]+)\//.exec(path)?.[1] ?? 'every';
}
