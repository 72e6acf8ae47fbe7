declare module 'snappyjs' {
  /** @throws Error when `compressed` is no Snappy data. */
  export function uncompress(compressed: Uint8Array): Uint8Array;
}
