// Every conversion vector through `sluice convert`: requests, refusals, answers, errors, and streams
// whole and in pieces (cuts at every single place: tests/unit/wire/vectors_test.c).

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { programs } from "./lib/stack.mjs";
import { bytes, compare, compareStream, formatOf, json, manifest } from "./lib/vectors.mjs";

function convert(kind, vector, input, ...more) {
  const { options = {} } = vector;
  const args = ["convert", kind, "--from", formatOf(vector.from), "--to", formatOf(vector.to), ...more];
  if (options.upstream_model) args.push("--upstream-model", options.upstream_model);
  if (options.client_model) args.push("--client-model", options.client_model);
  if (options.default_max_tokens) args.push("--default-max-tokens", options.default_max_tokens);
  if (options.include_usage) args.push("--include-usage");
  if (options.model_thinking) args.push("--model-thinking", options.model_thinking);
  for (const [name, value] of Object.entries(options.request_headers ?? {})) args.push("--header", `${name}: ${value}`);
  const done = spawnSync(path.join(programs, "sluice"), args.map(String), { input, maxBuffer: 64 << 20 });
  return { out: String(done.stdout), err: String(done.stderr), code: done.status };
}

const kinds = {
  request(vector) {
    const got = convert("request", vector, bytes(vector.input));
    assert.equal(got.code, 0, got.err);
    compare(JSON.parse(got.out), json(vector.expect), { subset: false });
    const dropped = [...got.err.matchAll(/^dropped: (.*)$/gm)].map((m) => m[1]);
    for (const name of vector.options?.dropped ?? []) assert.ok(dropped.includes(name), `${name} is not told as dropped: ${dropped}`);
  },
  reject(vector) {
    const got = convert("request", vector, bytes(vector.input));
    assert.equal(got.code, 3, got.err);
    compare(JSON.parse(got.out), json(vector.expect).body, { subset: true });
  },
  response(vector) {
    const got = convert("response", vector, bytes(vector.input));
    assert.equal(got.code, 0, got.err);
    compare(JSON.parse(got.out), json(vector.expect), { subset: true });
  },
  error(vector) {
    const input = json(vector.input), expect = json(vector.expect);
    const headers = Object.entries(input.headers ?? {}).flatMap(([name, value]) => ["--header", `${name}: ${value}`]);
    const got = convert("error", vector, JSON.stringify(input.body), "--status", input.status, ...headers);
    assert.equal(got.code, 0, got.err);
    assert.match(got.err, new RegExp(`^status: ${expect.status}$`, "m"));
    if (expect.headers?.["retry-after"]) assert.match(got.err, new RegExp(`^retry-after: ${expect.headers["retry-after"]}$`, "m"));
    compare(JSON.parse(got.out), expect.body, { subset: true });
  },
  stream(vector) {
    const input = bytes(vector.input), expect = bytes(vector.expect);
    for (const more of [[], ["--chunk", 1], ["--chunk", 7]]) {
      const got = convert("stream", vector, input, ...more);
      assert.equal(got.code, 0, `${more}: ${got.err}`);
      try {
        compareStream(got.out, expect, vector.to);
      } catch (e) {
        e.message = `${more.join(" ") || "whole"}: ${e.message}`;
        throw e;
      }
    }
  },
};

for (const vector of manifest) {
  if (vector.kind === "table") continue; // unit tests: tests/unit/wire
  test(`vector ${vector.id}: ${vector.kind} ${vector.from} to ${vector.to}`, () => kinds[vector.kind](vector));
}
