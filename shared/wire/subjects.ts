/** Every NATS subject and stream name of a cluster, in one place. */
import type { GroupId, ServerId } from '../raft/entry.js';

/** The queue group that every server with a leader joins for `<c>.cmd.>`. */
export const LEADERS_QUEUE = 'leaders';
/** The queue group of all appliers for `<c>.query.>`. */
export const APPLIERS_QUEUE = 'appliers';

/** What a server or a cluster may be called: one token of a subject. */
export const SERVER_NAME = /^[A-Za-z0-9_-]{1,32}$/;

export class Subjects {
  constructor(readonly cluster: string) {}

  /**
   * Whether a service may answer there. NATS does not check the reply subject of a request against
   * the requester's permissions. An answer to a subject of this cluster, or of NATS itself, would
   * be a message that a service sends in the client's name.
   */
  isReply(subject: string): boolean {
    return !subject.startsWith('$') && !subject.startsWith(`${this.cluster}.`);
  }
  /** Any leader takes the command. */
  command(name: string): string {
    return `${this.cluster}.cmd.${name}`;
  }
  commands(): string {
    return `${this.cluster}.cmd.>`;
  }
  /** The leader of one group takes the command. */
  groupCommand(group: GroupId, name: string): string {
    return `${this.cluster}.group.${group}.cmd.${name}`;
  }
  /** Any leader takes all commands of a batch. */
  batch(): string {
    return `${this.cluster}.batch`;
  }
  /** The leader of one group takes all commands of a batch. */
  groupBatch(group: GroupId): string {
    return `${this.cluster}.group.${group}.batch`;
  }
  /**
   * One server takes the command, through a group that it leads; nobody listens while it leads
   * none.
   */
  serverCommand(server: ServerId, name: string): string {
    return `${this.cluster}.server.${server}.cmd.${name}`;
  }
  /** One server takes all commands of a batch, through a group that it leads. */
  serverBatch(server: ServerId): string {
    return `${this.cluster}.server.${server}.batch`;
  }
  /** A read, answered by one server. */
  serverQuery(server: ServerId, name: string): string {
    return `${this.cluster}.server.${server}.query.${name}`;
  }
  /** A read, answered by any applier. */
  query(name: string): string {
    return `${this.cluster}.query.${name}`;
  }
  /** Answers when the database of one server shows every write acknowledged before (T6). */
  sync(server: ServerId): string {
    return `${this.cluster}.sync.${server}`;
  }
  /** Raft messages to one server. */
  rpc(server: ServerId): string {
    return `${this.cluster}.rpc.${server}`;
  }
  /** The merger's long poll at its own server's replica. */
  feed(server: ServerId): string {
    return `${this.cluster}.feed.${server}`;
  }
  /** An applier asks its own server's replica when it may read (T6). */
  barrier(server: ServerId): string {
    return `${this.cluster}.barrier.${server}`;
  }
  /** A replica or merger asks its own server's applier where the state machine is (T10). The
   * subject has the name that earlier versions know. */
  locate(server: ServerId): string {
    return `${this.cluster}.install.${server}`;
  }
  /**
   * An applier has its own server's merger empty the stream and begin it again where the state
   * machine is (T10).
   */
  restartLog(server: ServerId): string {
    return `${this.cluster}.restart-log.${server}`;
  }
  /** An applier tells its own server's replica what snapshots cover (T10). */
  compact(server: ServerId): string {
    return `${this.cluster}.compact.${server}`;
  }
  /** A server has saved a snapshot; the others look what they may drop (T10). */
  snapshots(): string {
    return `${this.cluster}.snapshots`;
  }
  /** The leader of group 0 puts the restoring of a file into its log (T10). */
  restore(): string {
    return `${this.cluster}.restore`;
  }
  /**
   * The leader of group 0 puts a `craft.verify` into its log: all servers compare their rows there
   * (T4).
   */
  verify(): string {
    return `${this.cluster}.verify`;
  }
  /** The leader of group 0 puts a switch of the state machine's version into its log (T12). */
  machine(): string {
    return `${this.cluster}.machine`;
  }
  /**
   * An applier tells its own server's replica which version of the state machine is in force (T12).
   */
  version(server: ServerId): string {
    return `${this.cluster}.version.${server}`;
  }
  /** An applier asks its own server's replica who votes (T11). */
  voters(server: ServerId): string {
    return `${this.cluster}.voters.${server}`;
  }
  snapshotBucket(): string {
    return `${this.cluster.toUpperCase()}_SNAPSHOTS`;
  }
  /** The leader of one group changes, or only tells, who its members are (T11). */
  configure(group: GroupId): string {
    return `${this.cluster}.group.${group}.configure`;
  }
  /** Appliers compare running checksums here (T4). */
  checkpoint(): string {
    return `${this.cluster}.checkpoint`;
  }
  /** `admin("status")` is heard by every server, `admin("status", "s1")` by one. */
  admin(verb: string, server?: ServerId): string {
    return server === undefined ? `${this.cluster}.admin.${verb}` : `${this.cluster}.admin.${verb}.${server}`;
  }
  /** The stream with the merged log of one server, and the one subject that it stores. */
  logStream(server: ServerId): string {
    return `${this.cluster.toUpperCase()}_LOG_${server}`;
  }
  logSubject(server: ServerId): string {
    return `${this.cluster}.log.${server}`;
  }
  /**
   * The stream of a server's log store, where that is in JetStream, and the one subject that it
   * stores. Any other client that may publish to it can stop the server for good.
   */
  storeStream(server: ServerId): string {
    return `${this.cluster.toUpperCase()}_STORE_${server}`;
  }
  storeSubject(server: ServerId): string {
    return `${this.cluster}.store.${server}`;
  }
  /**
   * The stream that remembers which servers have had a log store, and the subject that enters one.
   */
  registry(): string {
    return `${this.cluster.toUpperCase()}_REGISTER`;
  }
  registered(server: ServerId): string {
    return `${this.cluster}.registered.${server}`;
  }
}
