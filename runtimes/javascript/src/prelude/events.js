// Event, EventTarget, AbortController, AbortSignal.
class Event {
  #type; #stopped = false; #prevented = false; #cancelable;
  constructor(type, { cancelable = false } = {}) { this.#type = String(type); this.#cancelable = Boolean(cancelable); this.timeStamp = host.monotonic(); this.target = null; }
  get type() { return this.#type; }
  get cancelable() { return this.#cancelable; }
  get defaultPrevented() { return this.#prevented; }
  get currentTarget() { return this.target; }
  preventDefault() { if (this.#cancelable) this.#prevented = true; }
  stopPropagation() {}
  stopImmediatePropagation() { this.#stopped = true; }
  static isStopped(event) { return #stopped in event && event.#stopped; }
}
const isStopped = Event.isStopped;
delete Event.isStopped;
class CustomEvent extends Event {
  constructor(type, options = {}) { super(type, options); this.detail = options.detail ?? null; }
}
class EventTarget {
  #listeners = [];
  addEventListener(type, listener, options) {
    if (listener == null) return;
    const { once = false, signal } = typeof options === "object" && options !== null ? options : {};
    if (signal?.aborted || this.#listeners.some((one) => one.type === type && one.listener === listener)) return;
    this.#listeners.push({ type, listener, once });
    signal?.addEventListener("abort", () => this.removeEventListener(type, listener));
  }
  removeEventListener(type, listener) { this.#listeners = this.#listeners.filter((one) => one.type !== type || one.listener !== listener); }
  dispatchEvent(event) {
    event.target = this;
    for (const one of [...this.#listeners]) {
      if (one.type !== event.type || !this.#listeners.includes(one)) continue;
      if (one.once) this.removeEventListener(one.type, one.listener);
      try {
        if (typeof one.listener === "function") one.listener.call(this, event);
        else one.listener.handleEvent(event);
      } catch (error) {
        console.error("In a listener:", error);
      }
      if (isStopped(event)) break;
    }
    return !event.defaultPrevented;
  }
}
const ABORT = Symbol("abort");
class AbortSignal extends EventTarget {
  #aborted = false; #reason; onabort = null;
  constructor(key) { super(); if (key !== ABORT) throw new TypeError("Illegal constructor"); }
  get aborted() { return this.#aborted; }
  get reason() { return this.#reason; }
  throwIfAborted() { if (this.#aborted) throw this.#reason; }
  [ABORT](reason = new DOMException("This operation was aborted", "AbortError")) {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    const event = new Event("abort");
    if (typeof this.onabort === "function") this.onabort.call(this, event);
    this.dispatchEvent(event);
  }
  static abort(reason) { const signal = new AbortSignal(ABORT); signal[ABORT](reason); return signal; }
  static timeout(ms) {
    const signal = new AbortSignal(ABORT);
    setTimeout(() => signal[ABORT](new DOMException("The operation timed out", "TimeoutError")), ms);
    return signal;
  }
  static any(signals) {
    const signal = new AbortSignal(ABORT);
    for (const one of signals) {
      if (one.aborted) { signal[ABORT](one.reason); break; }
      one.addEventListener("abort", () => signal[ABORT](one.reason), { once: true });
    }
    return signal;
  }
}
class AbortController {
  #signal = new AbortSignal(ABORT);
  get signal() { return this.#signal; }
  abort(reason) { this.#signal[ABORT](reason); }
}
for (const one of [Event, CustomEvent, EventTarget, AbortSignal, AbortController]) define(one.name, one);
