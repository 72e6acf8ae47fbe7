/**
 * Parts of Markdown files that are generated. Each lies between two comments, which a reader of the
 * page does not see:
 *
 *     <!-- generated: NAME -->
 *     …
 *     <!-- end -->
 */

/** By name. */
export type Parts = Readonly<Record<string, string>>;

const PART = /^(<!-- generated: (.+) -->\n)[\s\S]*?^(<!-- end -->)$/gm;

/** The text with these parts. @throws Error unless it has each of them once, and no other. */
export function withParts(markdown: string, parts: Parts): string {
  const found: string[] = [];
  const text = markdown.replaceAll(PART, (_, begin: string, name: string, end: string) => {
    const part = parts[name];
    if (part === undefined) throw new Error(`nothing generates a part called ${JSON.stringify(name)}`);
    found.push(name);
    return `${begin}\n${part}\n\n${end}`;
  });
  for (const name of Object.keys(parts)) {
    const count = found.filter((one) => one === name).length;
    if (count !== 1) throw new Error(`the part ${JSON.stringify(name)} is there ${count} times`);
  }
  return text;
}
