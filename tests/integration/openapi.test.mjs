// Every endpoint of the management API is called, and its answer has the members that htdocs/openapi.json
// says, of the types it says, and no others.

import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { Stack, until } from "./lib/stack.mjs";

const api = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, "../../htdocs/openapi.json"), "utf8"));
const deref = (s) => (s?.$ref ? deref(s.$ref.slice(2).split("/").reduce((at, name) => at[name], api)) : s);

const typeOf = (v) => (v === null ? "null" : Array.isArray(v) ? "array" : Number.isInteger(v) ? "integer" : typeof v);
const isType = (v, type) => [type].flat().some((t) => t === typeOf(v) || (t === "number" && typeof v === "number"));

// All that a schema and its allOf say of an object.
function members(schema) {
  const s = deref(schema), found = { props: { ...s.properties }, required: [...s.required ?? []], open: s.additionalProperties };
  for (const part of s.allOf ?? []) {
    const more = members(part);
    Object.assign(found.props, more.props);
    found.required.push(...more.required);
    found.open ??= more.open;
  }
  return found;
}

function check(schema, value, at) {
  const s = deref(schema), choice = s.oneOf ?? s.anyOf;
  if (choice) {
    const why = choice.map((one) => {
      try {
        return check(one, value, at);
      } catch (error) {
        return error.message;
      }
    });
    assert.ok(why.includes(undefined), `${at}: ${why.join(" | ")}`);
  }
  if (s.type) assert.ok(isType(value, s.type), `${at}: ${JSON.stringify(value)} is not ${s.type}`);
  if (s.enum) assert.ok(s.enum.includes(value), `${at}: ${JSON.stringify(value)} is none of ${s.enum}`);
  if ("const" in s) assert.equal(value, s.const, at);
  if (s.pattern && typeof value === "string") assert.match(value, new RegExp(s.pattern), at);
  if (Array.isArray(value) && s.items) value.forEach((v, i) => check(s.items, v, `${at}[${i}]`));
  if (typeOf(value) !== "object" || choice) return;
  const { props, required, open } = members(s);
  for (const name of required) assert.ok(name in value, `${at} lacks ${name}`);
  for (const [name, v] of Object.entries(value))
    if (props[name]) check(props[name], v, `${at}.${name}`);
    else if (typeof open === "object") check(open, v, `${at}.${name}`);
    else assert.ok(open === true || Object.keys(props).length === 0, `${at}.${name} is not described`);
}

test("openapi.json describes what comes", { timeout: 120000 }, async (t) => {
  const stack = await Stack.start({ settings: { workers: 1 } });
  t.after(() => stack.stop());
  const called = new Set(), wrong = [];
  const call = async (method, where, { id, body, query = "", headers = {} } = {}) => {
    const described = api.paths[where]?.[method.toLowerCase()];
    assert.ok(described, `${method} ${where}`);
    called.add(`${method} ${where}`);
    const answer = await fetch(stack.url + where.replace("{id}", encodeURIComponent(id ?? "")) + query, { method,
      headers: { authorization: `Bearer ${stack.manageToken}`, "content-type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body) });
    const takes = described.requestBody?.content["application/json"].schema;
    const text = await answer.text(), said = deref(described.responses[answer.status] ?? described.responses.default);
    assert.ok(answer.status < 300 || [401, 409, 503].includes(answer.status), `${method} ${where}: ${answer.status} ${text}`);
    const schema = said.content?.["application/json"]?.schema, json = text === "" ? undefined : JSON.parse(text);
    try {
      if (body !== undefined) check(takes ?? {}, body, `what ${method} ${where} is sent`);
      assert.equal(json === undefined, schema === undefined, `${method} ${where}: ${answer.status} has ${text.slice(0, 80) || "no body"}`);
      if (schema) check(schema, json, `${method} ${where} ${answer.status}`);
    } catch (error) {
      wrong.push(error.message);
    }
    return json;
  };
  const get = (where, more) => call("GET", where, more), post = (where, more) => call("POST", where, more);

  // one of each kind, by every field that another names
  const make = { projects: { name: "second" }, upstreams: { name: "other", base_url: `${stack.mock.url}/v1`, allow_private: true,
    models: ["a", "b*"], aliases: ["short=a"], group: "g", health_path: "/models", discover: true, tags: ["tier=free"] } };
  const id = {};
  for (const [kind, body] of Object.entries(make)) id[kind] = (await post(`/manage/${kind}`, { body })).id;
  Object.assign(make, { tokens: { project_id: id.projects, label: "l", metadata: ["a=b"] },
    keys: { upstream: id.upstreams, secret: "sk-for-openapi-0001", quotas: ["requests/minute=60"], label: "k" },
    prices: { model: "gpt-test", input: "1", output: "2" },
    limits: { metric: "requests", window: "day", cap: 1000, scope: { project: id.projects } },
    routes: { name: "r", model: "gpt-test", fallbacks: ["error gpt-spare"], targets: [{ upstream: "mock" }] },
    policies: { name: "p", type: "cost_control", scope: "route", route: "r", max_cost: "5" } });
  for (const kind of Object.keys(make).slice(2)) id[kind] = (await post(`/manage/${kind}`, { body: make[kind] })).id;
  id.grants = (await post("/manage/limits/{id}/grant", { id: id.limits, body: { amount: 5 } })).id;

  // what a request leaves behind
  const asked = await stack.chat({ model: "gpt-test", max_tokens: 5 });
  assert.equal(asked.status, 200, await asked.text());
  id.requests = (await until("a row", 5000, async () => (await stack.rows())[0])).id;
  await post("/manage/upstreams/{id}/models/refresh", { id: "mock" });
  await post("/manage/keys/{id}/test", { id: id.keys });
  for (const state of ["open", "auto"]) await post("/manage/upstreams/{id}/breaker", { id: "other", body: { state } });
  await post("/manage/keys/{id}/disable", { id: id.keys, body: { reason: "r" } });
  await post("/manage/keys/{id}/enable", { id: id.keys });
  await post("/manage/keys/{id}/retry", { id: id.keys });
  const running = stack.chat({ model: "mock:chunks=400,interval=20", stream: true }).then((r) => r.text()).catch(() => {});
  const run = await until("a running request", 5000, async () => (await get("/manage/inflight")).data[0]);
  await post("/manage/inflight/{id}/cut", { id: run.id });
  await running;

  await stack.chat({ model: "mock:status=429" }); // its key rests from now on

  await t.test("lists and records", async () => {
    for (const kind of [...Object.keys(make), "grants"]) {
      await get(`/manage/${kind}`);
      await get(`/manage/${kind}/{id}`, { id: id[kind] });
      if (api.paths[`/manage/${kind}/{id}`].patch) await call("PATCH", `/manage/${kind}/{id}`, { id: id[kind],
        body: kind === "tokens" ? { label: "m" } : kind === "prices" ? { output: "3" } : kind === "limits" ? { cap: 2000 }
          : kind === "keys" ? { label: "n" } : { name: `${kind}-new` } });
    }
    for (const of of ["models", "health", "history"]) await get(`/manage/upstreams/{id}/${of}`, { id: id.upstreams });
    await get("/manage/keys/{id}/history", { id: id.keys });
    await get("/manage/requests");
    await get("/manage/requests/{id}", { id: id.requests });
    await get("/manage/requests/{id}/explain", { id: id.requests });
    for (const by of ["project", "token", "model", "upstream", "key"]) await get("/manage/usage", { query: `?by=${by}` });
    for (const at of ["breakers", "inflight", "audit", "changes", "health", "backup"]) await get(`/manage/${at}`);
    assert.deepEqual(wrong.splice(0), []);
  });

  await t.test("what is asked and done", async () => {
    await post("/manage/routes/quote", { body: { model: "gpt-test", project: "first" } });
    await post("/manage/routes/quote", { body: { model: "nobody-has-it", project: "first" } });
    await post("/manage/policies/dry-run", { body: { policy: { type: "routing", blocked_upstreams: ["mock"] },
      ask: { model: "gpt-test" } } });
    for (const at of ["/manage/get_next_key", "/get_next_key"]) await get(at, { query: "?model=gpt-test" });
    for (const at of ["/manage/disable_key", "/disable_key"]) await post(at, { body: { key: id.keys } });
    await get("/get_next_key", { query: "?upstream=upstreams-new" });
    await post("/manage/keys/import", { body: { keys: [{ upstream: "mock", secret: "sk-imported-0001" }] } });
    await post("/manage/keys/{id}/rotate", { id: id.keys, body: { secret: "sk-for-openapi-0002" } });
    await post("/manage/keys/{id}/revoke", { id: id.keys, body: {} });
    await post("/manage/tokens/mint", { body: { project_id: id.projects, count: 2 } });
    await post("/manage/tokens/{id}/rotate", { id: id.tokens, body: {} });
    await post("/manage/tokens/{id}/revoke", { id: id.tokens, body: {} });
    await post("/manage/tokens/revoke", { body: { project_id: id.projects, is_expired: true, dry_run: true } });
    await post("/manage/tokens/cleanup", { body: { days: 30, dry_run: true } });
    await post("/manage/tokens/import", { body: { from: "llm-proxy", dry_run: true,
      text: JSON.stringify({ token: "sk-brought-along-0001", project_id: "x", is_active: true }) } });
    await post("/manage/projects/{id}/revoke-tokens", { id: id.projects, body: {} });
    await post("/manage/limits/{id}/reset", { id: id.limits, body: {} });
    await post("/manage/prices/import", { body: { prices: [{ model: "x", input: "1", output: "2" }] } });
    const change = (await get("/manage/changes")).data.find((c) => c.action === "policy.update");
    await post("/manage/changes/{id}/undo", { id: change.id });
    await post("/manage/backup");
    await get("/manage/backup");
    for (const kind of ["grants", "policies", "routes", "limits", "prices", "keys", "tokens", "upstreams"])
      await call("DELETE", `/manage/${kind}/{id}`, { id: id[kind] });
    assert.deepEqual(wrong.splice(0), []);
  });

  await t.test("and each that there is was called", async () => {
    await get("/manage/session");
    assert.deepEqual(wrong.splice(0), []);
    const all = Object.entries(api.paths).flatMap(([at, ways]) => Object.keys(ways).filter((m) => /^(get|post|patch|put|delete)$/.test(m))
      .map((m) => `${m.toUpperCase()} ${at}`));
    // signing in is the page's, and its test's
    const left = all.filter((one) => !called.has(one) && !/ \/manage\/(session|setup)$/.test(one));
    assert.deepEqual(left, []);
  });
});
