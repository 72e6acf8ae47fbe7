/**
 * What a server was told to use belongs to another cluster. No other try mends that; two clusters
 * would destroy each other's state.
 */
import { NamedError } from '../errors.js';
export class OtherClusterError extends NamedError {
  readonly code = 'OTHER_CLUSTER';
  /**
   * @param what it is, @param found the cluster that it belongs to, @param given the value of
   * CRAFT_CLUSTER, @param wayOut what to do
   */
  constructor(what: string, found: string, given: string, wayOut: string) {
    super(
      `${what} belongs to the cluster ${JSON.stringify(found)}, and CRAFT_CLUSTER is ${JSON.stringify(given)}: ${wayOut}`,
    );
  }
}
