// setTimeout, setInterval: in the order of their time, then of their making.
const pending = new Map();
let lastTimer = 0;
const TIMERS_MAX = 10_000;
const addTimer = (repeat) => (work, delay = 0, ...values) => {
  if (typeof work !== "function") throw new TypeError("the first argument of a timer is a function");
  if (pending.size >= TIMERS_MAX) throw new RangeError(`there are ${TIMERS_MAX} timers already`);
  delay = Math.min(Math.max(Number(delay) || 0, repeat ? 1 : 0), 2 ** 31 - 1);
  pending.set(++lastTimer, { due: host.monotonic() + delay, work, values, delay: repeat ? delay : null });
  return lastTimer;
};
const removeTimer = (timer) => { pending.delete(Number(timer)); };
const soonest = () => {
  let first = null;
  for (const [timer, one] of pending) if (!first || one.due < first[1].due) first = [timer, one];
  return first;
};
const next = () => {
  const first = soonest();
  return first ? Math.max(first[1].due - host.monotonic(), 0) : -1;
};
// One: what it leads to runs before the next.
const runDue = () => {
  const first = soonest();
  if (!first || first[1].due > host.monotonic()) return;
  const [timer, one] = first;
  if (one.delay === null) pending.delete(timer);
  else one.due = host.monotonic() + one.delay;
  try {
    one.work(...one.values);
  } catch (error) {
    console.error("In a timer:", error);
  }
};
define("setTimeout", addTimer(false));
define("setInterval", addTimer(true));
define("setImmediate", (work, ...values) => setTimeout(work, 0, ...values));
define("clearTimeout", removeTimer);
define("clearInterval", removeTimer);
define("clearImmediate", removeTimer);
define("queueMicrotask", (work) => { Promise.resolve().then(work).catch((error) => console.error("In a microtask:", error)); });
