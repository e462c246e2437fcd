// Asks another service, which must be granted: `--allow call=service:words`.
import { call, log, service } from "solo";

const words = service("words");

export async function longest(text) {
  const { longest } = await words.count(text);
  log.info(`the longest of ${text.length} characters: ${longest}`);
  return longest;
}

export const ask = (name, method, ...values) => call(name, method, values);

let beats = 0;
export function init() {
  setInterval(() => beats++, 10);
}
export const alive = () => beats > 0;

// Bytes, from callers that send a payload.
export const handle = (bytes) => new TextDecoder().decode(bytes).toUpperCase();
