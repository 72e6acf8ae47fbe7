/** etcd, three members, puts: the usual Raft store, with no SQL state and one leader. */
import { startEtcd } from '../systems/etcd.js';
import { findEtcd } from '../systems/etcd-binary.js';
import type { Contestant } from './contestant.js';

export const etcd: Contestant = {
  name: 'etcd',
  title: 'etcd, three members, puts',
  async prepare(notice) {
    const { version } = await findEtcd({ onFetch: (method) => notice(`fetching etcd (${method}), once …`) });
    return { etcd: version };
  },
  async start(stage) {
    const members = await startEtcd(await stage.nextTurn());
    return {
      target: { kind: 'etcd', urls: members.urls },
      processes: members.processes,
      monitors: [],
      verify: members.verify,
      stop: members.stop,
    };
  },
};
