/** Simulated time and what is to happen in it: a binary heap by (time, order of scheduling). */
export class EventQueue {
  /** Simulated time since the start (microseconds). */
  nowUs = 0;
  private readonly times: number[] = [];
  private readonly orders: number[] = [];
  private readonly actions: (() => void)[] = [];
  private order = 0;

  get length(): number {
    return this.times.length;
  }

  /**
   * Runs `action` after `delayUs` (microseconds), after everything that was scheduled for the same
   * time before.
   */
  after(delayUs: number, action: () => void): void {
    this.push(this.nowUs + Math.max(0, Math.ceil(delayUs)), this.order++, action);
  }

  /** Moves time on to the next action and returns it; null when there is none. */
  next(): (() => void) | null {
    const action = this.actions[0];
    if (action === undefined) return null;
    this.nowUs = this.times[0] as number;
    const time = this.times.pop() as number;
    const order = this.orders.pop() as number;
    const last = this.actions.pop() as () => void;
    if (this.times.length > 0) this.siftDown(time, order, last);
    return action;
  }

  private push(time: number, order: number, action: () => void): void {
    const { times, orders, actions } = this;
    let at = times.length;
    times.push(time);
    orders.push(order);
    actions.push(action);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const parentTime = times[parent] as number;
      if (parentTime < time || (parentTime === time && (orders[parent] as number) < order)) break;
      times[at] = parentTime;
      orders[at] = orders[parent] as number;
      actions[at] = actions[parent] as () => void;
      at = parent;
    }
    times[at] = time;
    orders[at] = order;
    actions[at] = action;
  }

  private siftDown(time: number, order: number, action: () => void): void {
    const { times, orders, actions } = this;
    const { length } = times;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= length) break;
      if (child + 1 < length && this.isBefore(child + 1, child)) child += 1;
      const childTime = times[child] as number;
      if (time < childTime || (time === childTime && order < (orders[child] as number))) break;
      times[at] = childTime;
      orders[at] = orders[child] as number;
      actions[at] = actions[child] as () => void;
      at = child;
    }
    times[at] = time;
    orders[at] = order;
    actions[at] = action;
  }

  private isBefore(a: number, b: number): boolean {
    const timeA = this.times[a] as number;
    const timeB = this.times[b] as number;
    return timeA < timeB || (timeA === timeB && (this.orders[a] as number) < (this.orders[b] as number));
  }
}
