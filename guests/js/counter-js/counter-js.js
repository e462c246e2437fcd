// A counter in JavaScript, in the world `solo:service/service`: behaves as the Rust guest
// `counter`. The count lives in the instance's memory, so a restart sets it to 0.
//
// Calls: `get`, `add N`, `reset`; each answers the count as text, anything else is an error that
// lists them. Casts: `add N`; anything else is logged and dropped.
import { log } from 'solo:service/log@0.1.0';

const COMMANDS = 'expected one of: get, add N, reset';

// BigInt, because the count is a 64-bit whole number as in Rust.
let count = 0n;

// A result's error: what is thrown as a string reaches the caller as the error text.
function fail(text) {
  throw text;
}

function add(command) {
  const [word, ...rest] = command.split(' ');
  if (word !== 'add' || rest.length === 0) fail(COMMANDS);
  const amount = rest.join(' ').trim();
  if (!/^[+-]?\d+$/.test(amount) || !fits(BigInt(amount.replace(/^\+/, '')))) {
    fail(`not a 64-bit whole number: ${amount}; ${COMMANDS}`);
  }
  const sum = count + BigInt(amount.replace(/^\+/, ''));
  if (!fits(sum)) fail('the count would overflow');
  count = sum;
  return count;
}

function fits(value) {
  return BigInt.asIntN(64, value) === value;
}

function decode(payload) {
  return new TextDecoder().decode(payload).trim();
}

export const handler = {
  init() {
    log('info', 'counter started');
  },

  handleCall(payload) {
    const command = decode(payload);
    if (command === 'reset') count = 0n;
    else if (command !== 'get') add(command);
    return new TextEncoder().encode(count.toString());
  },

  handleCast(payload) {
    try {
      add(decode(payload));
    } catch (error) {
      log('warn', `cast dropped: ${error}`);
    }
  },

  terminate(reason) {
    log('info', `counter ends at ${count}: ${reason}`);
  },
};
