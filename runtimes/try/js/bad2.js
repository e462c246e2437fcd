import { nope } from "./missing.js";
export const f = nope;
