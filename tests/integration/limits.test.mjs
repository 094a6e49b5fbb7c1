// Limits over several workers and CGI processes: every scope in one admission, the refusal names the
// right one, windows of all kinds, grants and resets.

import assert from "node:assert/strict";
import test from "node:test";
import { Stack, sleep, until } from "./lib/stack.mjs";

const body = { model: "mock-limits", max_tokens: 20, messages: [{ role: "user", content: "one" }] };
const count = (statuses, status) => statuses.filter((s) => s === status).length;
const many = (n, one) => Promise.all(Array.from({ length: n }, (_, i) => one(i)));

// A minute must not turn while calls of it are counted.
async function earlyInTheMinute() {
  const seconds = new Date().getUTCSeconds();
  if (seconds > 40) await sleep((60 - seconds) * 1000 + 500);
}

test("limits", { timeout: 240000 }, async (t) => {
  const stack = await Stack.start({ server: "nginx", settings: { workers: 4 }, mock: ["--delay-ms", "10"] });
  const newToken = () => stack.command(["token", "add", "--project", "first", "--json"]);
  const limit = (fields) => stack.manage("POST", "limits", { metric: "requests", window: "total", ...fields });
  const drop = (l) => stack.manage("DELETE", `limits/${l.id}`);
  try {
    await stack.manage("POST", "prices", { model: "mock-limits", input: "0", output: "0", request: "1" });

    await t.test("all scopes in one admission, and the refusal names the one that binds", async () => {
      const token = newToken();
      const scopes = {
        project: { project: "each" }, token: { token: token.id }, end_user: { end_user: "each" },
        model: { model: "mock-l*" }, address: { address: "127.0.0.0/8" }, tag: { tag: "feature=*" },
        together: { token: "each", model: "each", end_user: "each" },
      };
      const limits = {};
      for (const [name, scope] of Object.entries(scopes)) limits[name] = await limit({ scope, cap: 100000 });
      const options = { token: token.token, headers: { "x-sluice-tag": "feature=search" } };
      const call = { ...body, user: "ann" };
      const used = async (name) => (await stack.manage("GET", `limits/${limits[name].id}`
        + `?token_id=${token.id}&end_user=ann&model=mock-limits&tag=feature%3Dsearch`)).used;
      assert.equal((await stack.chat(call, options)).status, 200);
      for (const name of Object.keys(scopes)) {
        const before = await until(`${name} counts it`, 3000, () => used(name));
        await stack.manage("PATCH", `limits/${limits[name].id}`, { cap: before });
        const refused = await stack.chat(call, options);
        const error = (await refused.json()).error;
        assert.equal(refused.status, 429, name);
        assert.equal(refused.headers.get("x-sluice-limit"), limits[name].id, name);
        assert.match(error.message, new RegExp(`\\(${limits[name].id}\\) is reached: ${before} of ${before}`));
        assert.equal(refused.headers.get("x-ratelimit-remaining-requests"), "0");
        await stack.manage("PATCH", `limits/${limits[name].id}`, { cap: 100000 });
        assert.equal((await stack.chat(call, options)).status, 200, `${name} has room again`);
      }
      // what was refused has taken nothing from the others
      await until("all agree", 3000, async () =>
        (await Promise.all(["token", "end_user", "tag", "together"].map(used))).every((n) => n === 8));
      for (const l of Object.values(limits)) await drop(l);
    });

    await t.test("60 requests a minute: 200 at once over 4 workers and CGI, exactly 60 pass", async () => {
      const token = newToken();
      const l = await limit({ scope: { token: "each" }, window: "minute", cap: 60 });
      await earlyInTheMinute();
      const statuses = await Promise.all([
        many(180, () => stack.ask(body, token.token)), many(20, () => stack.cgi(body, token.token))]);
      assert.deepEqual({ passed: count(statuses.flat(), 200), refused: count(statuses.flat(), 429) },
        { passed: 60, refused: 140 });
      await drop(l);
    });

    await t.test("tokens a minute are never above, whatever is asked for at once", async () => {
      const token = newToken();
      const l = await limit({ scope: { token: token.id }, metric: "tokens", window: "minute", cap: 400 });
      await earlyInTheMinute();
      const statuses = [];
      let done = false;
      const watching = (async () => {
        while (!done) {
          const now = await stack.manage("GET", `limits/${l.id}`);
          assert.ok(now.used + now.reserved <= 400, `${now.used} and ${now.reserved}`);
        }
      })();
      for (let round = 0; round < 3; round++)
        statuses.push(...await many(40, () => stack.ask(body, token.token)));
      done = true;
      await watching;
      const after = await until("nothing stays reserved", 3000, async () => {
        const now = await stack.manage("GET", `limits/${l.id}`);
        return now.reserved === 0 && now;
      });
      const rows = (await stack.rows(`limit=500&token_id=${token.id}`)).filter((r) => r.status === 200);
      const sum = rows.reduce((n, r) => n + r.tokens.input + r.tokens.output, 0);
      assert.equal(after.used, sum);
      assert.ok(sum <= 400 && count(statuses, 200) > 5, `${sum} tokens, ${count(statuses, 200)} calls`);
      assert.equal(count(statuses, 200) + count(statuses, 429), 120);
      await drop(l);
    });

    await t.test("eight first calls of a new end user at once see one budget", async () => {
      const token = newToken();
      const l = await limit({ scope: { end_user: "each" }, metric: "cost", window: "month", cap: "3" });
      for (const user of ["one", "two", "three"]) {
        const statuses = await many(8, () => stack.ask({ ...body, user }, token.token));
        assert.equal(count(statuses, 200), 3, `${user}: ${statuses}`);
      }
      await drop(l);
    });

    await t.test("a rolling window lets pass again when it says so", async () => {
      const token = newToken();
      const l = await limit({ scope: { token: token.id }, window: "rolling:3", cap: 4 });
      const statuses = await many(12, () => stack.ask(body, token.token));
      assert.equal(count(statuses, 200), 4);
      const refused = await stack.chat(body, { token: token.token });
      assert.match((await refused.json()).error.message, /requests within 3 s .* frees at/);
      const wait = Number(refused.headers.get("retry-after"));
      assert.ok(wait >= 1 && wait <= 4, `Retry-After ${wait}`);
      await sleep(wait * 1000);
      assert.equal((await stack.chat(body, { token: token.token })).status, 200);
      await drop(l);
    });

    await t.test("headers tell of the tightest; a long wait is no sleep for an SDK", async () => {
      const token = newToken();
      const limits = [await limit({ scope: { token: token.id }, window: "hour", cap: 50 }),
        await limit({ scope: { token: token.id }, window: "day", cap: 3, timezone: "Pacific/Auckland" }),
        await limit({ scope: { token: token.id }, metric: "tokens", window: "minute", cap: 1000 }),
        await limit({ scope: { token: token.id }, window: "day", cap: 1, mode: "soft" })];
      const first = await stack.chat(body, { token: token.token });
      assert.equal(first.headers.get("x-ratelimit-limit-requests"), "3");
      assert.equal(first.headers.get("x-ratelimit-remaining-requests"), "2");
      assert.match(first.headers.get("x-ratelimit-reset-requests"), /^(\d+h)?(\d+m)?[\d.]+s$|^\d+ms$/);
      assert.equal(first.headers.get("x-ratelimit-limit-tokens"), "1000");
      await stack.chat(body, { token: token.token });
      await stack.chat(body, { token: token.token });
      const refused = await stack.chat(body, { token: token.token });
      const resets = (await stack.manage("GET", `limits/${limits[1].id}`)).resets_at;
      const until = Date.parse(resets) - Date.now();
      if (until > 61000) {
        assert.equal(refused.headers.get("retry-after"), null);
        assert.equal(refused.headers.get("x-should-retry"), "false");
        assert.ok(Math.abs(Date.parse(refused.headers.get("x-sluice-resets-at")) - Date.parse(resets)) < 1500);
      }
      assert.equal((await refused.json()).error.sluice_code, "rate_limited");
      for (const l of limits) await drop(l);
    });

    await t.test("reset, grant, and both taken back, at every worker", async () => {
      const token = newToken();
      const l = await limit({ scope: { token: "each" }, window: "month", cap: 5 });
      const passes = async () => count(await many(24, () => stack.ask(body, token.token)), 200);
      const selected = { scope: { token: token.id } };
      assert.equal(await passes(), 5);
      const reset = await stack.manage("POST", `limits/${l.id}/reset`, { ...selected, reason: "test" });
      assert.equal(await passes(), 5);
      const grant = stack.command(["limit", "grant", l.id, "--token", token.id, "--amount", "3", "--json"]);
      assert.equal(await passes(), 3);
      const shown = await stack.manage("GET", `limits/${l.id}?token_id=${token.id}`);
      assert.deepEqual([shown.used, shown.granted, shown.remaining, shown.cap], [8, 3, 0, 5]);
      stack.command(["grant", "delete", reset.id, "--yes"]);
      assert.equal(await passes(), 0);
      stack.command(["limit", "reset", l.id, "--token", token.id, "--reason", "again", "--yes"]);
      assert.equal(await passes(), 8, "the cap and what is granted");
      assert.match(stack.command(["grant", "list", "--limit-id", l.id]), /again/);
      await stack.manage("DELETE", `grants/${grant.id}`);
      const others = newToken();
      assert.equal(count(await many(24, () => stack.ask(body, others.token)), 200), 5, "nobody else's");
      const { data } = await stack.manage("GET", "audit?limit=50");
      for (const action of ["limit.reset", "limit.grant", "grant.delete"])
        assert.ok(data.some((e) => e.action === action), action);
      await drop(l);
    });

    await t.test("limits on upstream and key are exact over workers and CGI, and named", async () => {
      const token = newToken();
      const l = await limit({ scope: { upstream: "mock", token: token.id }, cap: 20 });
      const k = await limit({ scope: { key: "each", end_user: "zoe" }, cap: 5 });
      const statuses = await Promise.all([
        many(50, () => stack.ask(body, token.token)), many(6, () => stack.cgi(body, token.token))]);
      assert.equal(count(statuses.flat(), 200), 20, `${statuses}`);
      assert.equal(count(statuses.flat(), 429), 36, `${statuses}`);
      const refused = await stack.chat(body, { token: token.token });
      assert.equal(refused.headers.get("x-sluice-limit"), l.id);
      await until("given back", 3000, async () => {
        const now = await stack.manage("GET", `limits/${l.id}`);
        return now.used === 20 && now.reserved === 0;
      });
      const other = newToken();
      const zoe = await many(12, () => stack.ask({ ...body, user: "zoe" }, other.token));
      assert.equal(count(zoe, 200), 5, `${zoe}`);
      assert.equal((await stack.chat(body, { token: other.token })).status, 200, "only hers");
      for (const one of [l, k]) await drop(one);
    });

    await t.test("what is expected does not lock out a ceiling that is never used", async () => {
      const token = newToken();
      const agent = { ...body, max_tokens: 32000 };
      const worst = await limit({ scope: { token: token.id }, metric: "tokens", window: "total", cap: 20000 });
      assert.equal((await stack.chat(agent, { token: token.token })).status, 400);
      await stack.manage("PATCH", `limits/${worst.id}`, { reserve: "expected" });
      const statuses = await many(10, () => stack.ask(agent, token.token));
      assert.equal(count(statuses, 200), 10, `${statuses}`);
      await drop(worst);
    });
  } finally {
    assert.equal(await stack.stop(), 0, "everything ended on TERM");
  }
});
