import { missing } from "./lib.js";
export const f = () => missing;
