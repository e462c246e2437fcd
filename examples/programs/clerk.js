#!/usr/bin/node
// A service over the Unix socket in $SOLO_SOCKET. What it speaks is gRPC (proto/solo/program/v1/program.proto);
// here it is written by hand, so that nothing but node is needed. With a gRPC library the first half is generated.
"use strict";
const http2 = require("node:http2");
const net = require("node:net");

// Protobuf: { field: value }, where numbers and booleans are varints, and all else is bytes.
const varint = (n) => (n < 128 ? Buffer.from([n]) : Buffer.concat([Buffer.from([(n % 128) + 128]), varint(Math.floor(n / 128))]));
const encode = (fields) =>
  Buffer.concat(
    Object.entries(fields).flatMap(([field, value]) => {
      if (typeof value === "number") return [varint(field * 8), varint(value)];
      const bytes = Buffer.from(value);
      return [varint(field * 8 + 2), varint(bytes.length), bytes];
    }),
  );
const decode = (bytes) => {
  const fields = {};
  let at = 0;
  const number = () => {
    const byte = bytes[at++];
    return byte < 128 ? byte : byte - 128 + 128 * number();
  };
  while (at < bytes.length) {
    const key = number();
    const value = number();
    fields[key >> 3] = key % 8 === 2 ? bytes.subarray(at, (at += value)) : value;
  }
  return fields;
};

// gRPC: one request, one answer. An error has the stable word of Solo as its `reason`.
const connect = () => net.connect(process.env.SOLO_SOCKET);
const session = http2.connect("http://solo", { createConnection: connect });
session.on("error", (error) => console.error(`the socket: ${error.message}`));
const rpc = (method, fields = {}) =>
  new Promise((resolve, reject) => {
    const path = `/solo.program.v1.ProgramService/${method}`;
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" });
    const chunks = [];
    let told = {};
    stream.on("response", (headers) => (told = headers));
    stream.on("trailers", (trailers) => (told = trailers));
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => {
      if (told["grpc-status"] === "0") return resolve(decode(Buffer.concat(chunks).subarray(5)));
      const error = new Error(decodeURIComponent(told["grpc-message"] ?? "no answer"));
      reject(Object.assign(error, { reason: told["solo-reason"] }));
    });
    const body = encode(fields);
    const head = Buffer.alloc(5);
    head.writeUInt32BE(body.length, 1);
    stream.end(Buffer.concat([head, body]));
  });

// Takes one message after the other. `handle` answers a value, or bytes, or throws.
async function serve(handle) {
  await rpc("Ready");
  for (let last = 0; ; ) {
    const { 1: received } = await rpc("Receive", { 1: last });
    if (!received) continue;
    const message = decode(received);
    last = message[1];
    const input = message[3] ? JSON.parse(message[3]) : (message[4] ?? decode(message[5] ?? Buffer.alloc(0)));
    let outcome;
    try {
      const result = await handle((message[2] ?? "").toString(), input, message);
      outcome = Buffer.isBuffer(result) ? { 3: result } : { 2: JSON.stringify(result ?? null) };
    } catch (error) {
      outcome = { 4: encode({ 1: 1, 2: `${error.reason ?? ""} ${error.message}`.trim() }) };
    }
    await rpc("Reply", { 1: last, ...outcome });
  }
}

// ---- The service itself.
serve(async (name, input) => {
  switch (name) {
    case "greet":
      return `hello ${input[0]}`;
    case "count":
      // Kept when this program, or Solo, is started again.
      return (await rpc("IncrementValue", { 1: "count", 2: 1 }))[1];
    case "note":
      await rpc("Log", { 1: 4, 2: String(input[0]) });
      return null;
    case "ask": {
      // SERVICE FUNCTION ARGUMENT...: calls another service, if that was granted.
      const [service, method, ...rest] = input;
      const answer = await rpc("Call", { 1: service, 2: method, 3: JSON.stringify(rest) });
      return JSON.parse(answer[1]);
    }
    default:
      throw new Error(`there is no function ${name}`);
  }
});
