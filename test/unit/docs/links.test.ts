/**
 * Every relative link and every anchor of every page leads somewhere: in the project, and in the
 * package.
 */
import { existsSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { projectRoot } from '../../../deploy/local/project.js';
import { filesIn, read } from './files.js';
import { anchorsOf, linksOf } from './markdown.js';

const root = projectRoot();
const pages = filesIn('', '.md');

interface Target {
  /** From the folder of the project. */
  readonly path: string;
  /** Empty: the whole page. */
  readonly anchor: string;
}

function targetOf(page: string, link: string): Target {
  const [path = '', anchor = ''] = link.split('#');
  return { path: path === '' ? page : normalize(join(dirname(page), decodeURI(path))), anchor };
}

/** Why a link leads nowhere; undefined when it leads somewhere. */
function problemOf(page: string, link: string): string | undefined {
  const { path, anchor } = targetOf(page, link);
  if (path.startsWith('..') || !existsSync(join(root, path))) return `${page}: no file ${link}`;
  if (anchor === '') return undefined;
  return path.endsWith('.md') && anchorsOf(read(path)).has(anchor) ? undefined : `${page}: no heading ${link}`;
}

it('every link of every page leads to a file and a heading', () => {
  expect(pages).toEqual(expect.arrayContaining(['README.md', 'deploy/README.md', 'deploy/examples/bank/README.md']));
  const checked = pages.flatMap((page) => linksOf(read(page)).map((link) => problemOf(page, link)));
  expect(checked.filter((problem) => problem !== undefined)).toEqual([]);
  expect(checked.length).toBeGreaterThan(40);
});

it('a link to a page of the package leads to a page of the package, unless it is for those who have the clone', () => {
  const { files } = z.object({ files: z.array(z.string()) }).parse(JSON.parse(read('package.json')));
  const inPackage = (path: string) =>
    path === 'README.md' || path === 'LICENSE' || files.some((file) => path === file || path.startsWith(`${file}/`));
  const packed = pages.filter(inPackage);
  expect(packed).toContain('deploy/README.md');
  const outside = packed.flatMap((page) => linksOf(read(page)).map((link) => targetOf(page, link).path));
  expect([...new Set(outside.filter((path) => !inPackage(path)))].sort()).toEqual([
    'CONTRIBUTING.md',
    'deploy/compose/Dockerfile',
    'deploy/compose/compose.yaml',
    'deploy/compose/database.sql',
    'deploy/examples/clients/README.md',
    'deploy/examples/inventory/README.md',
    'deploy/kubernetes/README.md',
    'test/README.md',
  ]);
});

it('the page of the client package has links to itself only: nothing else is in that package', () => {
  expect(linksOf(read('shared/client/README.md')).filter((link) => !link.startsWith('#'))).toEqual([]);
});

it('every heading that an error message or a help text names is there', () => {
  const sources = ['services', 'shared', 'deploy'].flatMap((folder) => filesIn(folder, '.ts'));
  const named = sources.flatMap((source) => [...read(source).matchAll(/([\w/]*README\.md), "([^"]+)"/g)]);
  expect(named.length).toBeGreaterThan(2);
  for (const [name, page = '', heading = ''] of named) {
    expect(
      read(page)
        .match(/^#+ .+$/gm)
        ?.map((line) => line.replace(/^#+ /, '')),
      name,
    ).toContain(heading);
  }
});

describe('the checker', () => {
  it('finds links and images, and none in code or to other hosts', () => {
    const page = [
      'A [page](a.md), an ![image](b.png "title"), [two\nlines](c.md#d), <https://a.example>, [out](https://b.example).',
      'In code: `[x](no.md)`, ``[y](no`.md)``.',
      '```md\n[z](no.md)\n```',
      '[reference]: e.md',
    ].join('\n\n');
    expect(linksOf(page)).toEqual(['a.md', 'b.png', 'c.md#d', 'e.md']);
  });

  it('makes anchors as GitHub does', () => {
    const page = '# A `code`, and (more)\n\n## Same\n\n## Same\n\n```\n# none\n```\n\n### [Link](a.md): _x_ — é\n';
    expect([...anchorsOf(page)]).toEqual(['a-code-and-more', 'same', 'same-1', 'link-_x_--é']);
  });

  it('says what is wrong', () => {
    expect(problemOf('README.md', 'none.md')).toBe('README.md: no file none.md');
    expect(problemOf('README.md', '../outside.md')).toBe('README.md: no file ../outside.md');
    expect(problemOf('README.md', 'deploy/README.md#nothing')).toBe('README.md: no heading deploy/README.md#nothing');
    expect(problemOf('README.md', '#nothing')).toBe('README.md: no heading #nothing');
    expect(problemOf('README.md', '#use-it')).toBeUndefined();
  });
});
