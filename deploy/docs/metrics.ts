/** The table of Prometheus metrics in Markdown, from the calls that open them. Pure. */

/** A file of a service. */
export interface Source {
  /** From the folder of the project. */
  readonly path: string;
  readonly text: string;
}

const OPENED =
  /\bmetrics\??\.(?:(counter|gauge|histogram)\(\s*'(\w+)',\s*'([^']+)'|(counter|gauge|histogram)By\(\s*'(\w+)',\s*'([^']+)',\s*('\w+'|\[[^\]]+\]))/g;
const ANY_OPENED = /\bmetrics\??\.(?:counter|gauge|histogram)(?:By)?\(/g;

/**
 * A row for each metric, service by service. @throws Error when one is opened in another way than
 * with its name and help as texts.
 */
export function metricsTable(sources: readonly Source[]): string {
  const rows = sources.flatMap(({ path, text }) => {
    const found = [...text.matchAll(OPENED)];
    const count = text.match(ANY_OPENED)?.length ?? 0;
    if (found.length !== count) throw new Error(`${path} opens ${count} metrics, of which ${found.length} can be read`);
    return found.map(([, plain, name, help, type = plain, nameBy = name, helpBy = help, labels = '']) => {
      const own = [...labels.matchAll(/\w+/g)].map(([label]) => `\`${label}\``).join(', ');
      return `| ${serviceOf(path)} | \`craft_${nameBy}\` | ${type} | ${own} | ${helpBy} |`;
    });
  });
  return ['| service | metric | type | own labels | what |', '|---|---|---|---|---|', ...rows.sort()].join('\n');
}

function serviceOf(path: string): string {
  return /^services\/([^/]+)\//.exec(path)?.[1] ?? 'every';
}
