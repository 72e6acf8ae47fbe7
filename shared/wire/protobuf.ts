/**
 * Imported before the generated code: 64-bit fields become plain numbers. Indexes, terms and
 * timestamps stay below 2^53 by contract (the validators of this folder refuse others), so Long
 * objects would only cost time.
 */
import protobuf from 'protobufjs/minimal.js';

(protobuf.util as { Long: unknown }).Long = undefined;
protobuf.configure();

export { protobuf };
