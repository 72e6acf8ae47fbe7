/** Whether two subjects of NATS, which may have wildcards, have a subject in common. Pure. */
export function overlap(a: string, b: string): boolean {
  const [left, right] = [a.split('.'), b.split('.')];
  for (let at = 0; ; at++) {
    const [x, y] = [left[at], right[at]];
    if (x === undefined || y === undefined) return x === y;
    if (x === '>' || y === '>') return true;
    if (x !== y && x !== '*' && y !== '*') return false;
  }
}
