// The conversion vectors (tests/vectors/README.md) and the rules by which an output is compared
// with what is expected.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";

export const folder = path.resolve(import.meta.dirname, "../../vectors");
const read = (name) => fs.readFileSync(path.join(folder, name));

export const manifest = JSON.parse(read("manifest.json"));
export const json = (name) => JSON.parse(read(name));

// The bytes that go in: frames of a binary stream are kept as hex, one a line.
export function bytes(name) {
  const content = read(name);
  if (!name.endsWith(".hex")) return content;
  return Buffer.concat(String(content).split("\n").map((line) => Buffer.from(line.trim(), "hex")));
}

// Names in the manifest that are not those of `sluice convert`.
export const formatOf = (name) => ({ "bedrock-converse-stream": "converse", "bedrock-invoke-stream": "bedrock-invoke",
  "sap-invoke-stream": "sap-invoke" })[name] ?? name;

// Placeholders: any string, any integer, the same id everywhere.
class Ids {
  known = new Map();
  fits(mark, value) {
    if (typeof value !== "string" || value === "") return false;
    if (this.known.has(mark)) return this.known.get(mark) === value;
    if ([...this.known.values()].includes(value)) return false;
    this.known.set(mark, value);
    return true;
  }
}

// Throws where got is not what is expected; subset: more members may stand in got's objects.
export function compare(got, expected, { subset, ids = new Ids(), at = "$" }) {
  const inner = { subset, ids };
  if (expected === "__ANY__") return assert.ok(typeof got === "string" && got !== "", `${at}: a string, not ${JSON.stringify(got)}`);
  if (expected === "__ANY_INT__") return assert.ok(Number.isInteger(got), `${at}: an integer, not ${JSON.stringify(got)}`);
  if (typeof expected === "string" && /^__ID\d+__$/.test(expected)) {
    return assert.ok(ids.fits(expected, got), `${at}: ${expected}, not ${JSON.stringify(got)}`);
  }
  if (Array.isArray(expected)) {
    assert.ok(Array.isArray(got), `${at}: an array, not ${JSON.stringify(got)}`);
    assert.equal(got.length, expected.length, `${at}: ${expected.length} elements, not ${JSON.stringify(got)}`);
    return expected.forEach((element, i) => compare(got[i], element, { ...inner, at: `${at}[${i}]` }));
  }
  if (expected !== null && typeof expected === "object") {
    assert.ok(got !== null && typeof got === "object" && !Array.isArray(got), `${at}: an object, not ${JSON.stringify(got)}`);
    for (const key of Object.keys(expected)) {
      assert.ok(key in got, `${at}.${key} is missing in ${JSON.stringify(got)}`);
      compare(got[key], expected[key], { ...inner, at: `${at}.${key}` });
    }
    if (!subset) for (const key of Object.keys(got)) assert.ok(key in expected, `${at}.${key} is too much: ${JSON.stringify(got[key])}`);
    return;
  }
  assert.deepEqual(got, expected, at);
}

// Events of a stream of server-sent events, comments and pings left out.
export function events(text) {
  const found = [];
  for (const block of String(text).split(/\r?\n\r?\n/)) {
    const event = { name: "", data: [] };
    for (const line of block.split(/\r?\n/)) {
      if (line.startsWith("event:")) event.name = line.slice(6).trim();
      else if (line.startsWith("data:")) event.data.push(line.slice(5).replace(/^ /, ""));
    }
    if (event.data.length === 0 || event.name === "ping") continue;
    const data = event.data.join("\n");
    found.push({ name: event.name, data: data.startsWith("[DONE]") ? "[DONE]" : JSON.parse(data) });
  }
  return found;
}

const merge = {
  // Neighbouring pieces of one choice's text, reasoning or one call's arguments become one.
  openai(list) {
    const joined = [];
    for (const { name, data } of list) {
      const choice = data.choices?.[0], last = joined.at(-1);
      const delta = choice?.delta;
      if (delta && delta.role && Object.keys(delta).every((k) => k === "role" || (k === "content" && !delta.content)) && !choice.finish_reason) continue;
      if (delta) {
        delete delta.role;
        if (!delta.content && Object.keys(delta).length > 1) delete delta.content;
      }
      const before = last?.data.choices?.[0]?.delta;
      if (delta && before && choice.index === last.data.choices[0].index && !choice.finish_reason && !last.data.choices[0].finish_reason) {
        const keys = Object.keys(delta).filter((k) => delta[k] !== null && delta[k] !== undefined), [key] = keys;
        const had = Object.keys(before).filter((k) => before[k] !== null && before[k] !== undefined);
        if (keys.length === 1 && (key === "content" || key === "reasoning_content") && had.length === 1 && had[0] === key) {
          before[key] += delta[key];
          continue;
        }
        if (keys.length === 1 && key === "tool_calls" && had.length === 1 && had[0] === key) {
          for (const call of delta.tool_calls) {
            const open = before.tool_calls.find((c) => c.index === call.index);
            if (open && !call.id) open.function.arguments = (open.function.arguments ?? "") + (call.function?.arguments ?? "");
            else before.tool_calls.push(call);
          }
          continue;
        }
      }
      joined.push({ name, data });
    }
    return joined;
  },
  anthropic(list) {
    const joined = [], texts = { text_delta: "text", thinking_delta: "thinking", input_json_delta: "partial_json" };
    for (const event of list) {
      const { data } = event, last = joined.at(-1)?.data, key = texts[data.delta?.type];
      if (data.type === "content_block_delta" && key) {
        if (data.delta[key] === "") continue;
        if (last?.type === "content_block_delta" && last.delta.type === data.delta.type) {
          last.delta[key] += data.delta[key];
          continue;
        }
      }
      joined.push(event);
    }
    // a block may be closed before an error
    const error = joined.findIndex((e) => e.data.type === "error");
    if (error > 0 && joined[error - 1].data.type === "content_block_stop") joined.splice(error - 1, 1);
    return joined;
  },
};

export function compareStream(got, expected, to) {
  const join = to === "anthropic" ? merge.anthropic : merge.openai;
  const [a, b] = [join(events(got)), join(events(expected))], ids = new Ids();

  const names = (list) => list.map((e) => `${e.name} ${JSON.stringify(e.data)}`).join("\n");
  assert.equal(a.length, b.length, `events:\n${names(a)}\n--- expected:\n${names(b)}`);
  b.forEach((e, i) => {
    assert.equal(a[i].name, e.name, `event ${i}`);
    compare(a[i].data, e.data, { subset: true, ids, at: `event ${i}` });
  });
}
