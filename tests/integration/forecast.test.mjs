// Keys whose quota is used up are not asked: the provider refuses a tenth as often as without.

import assert from "node:assert/strict";
import test from "node:test";
import { Stack, until } from "./lib/stack.mjs";

const SERVED = Number(process.env.SLUICE_LONG ? 600 : 130);
const KEYS = 4;

// Serves so many at one load, whatever comes between, and tells how often the provider refused.
async function refusals(forecast, quota, { told = 1, keys = [], settings = {} } = {}) {
  const stack = await Stack.start({ server: "lighttpd-socket",
    mock: ["--quota", quota, "--quota-told", String(told), "--delay-ms", "15"],
    settings: { workers: 2, forecast, metrics_open: "yes", ...settings } });
  try {
    for (let n = 2; n <= KEYS; n++)
      stack.command(["key", "add", "--upstream", "mock", "--secret", `sk-provider-secret-000${n}`, ...keys]);
    if (keys.length > 0)
      stack.command(["key", "set", stack.key.id, ...keys]);
    let served = 0;
    const ask = async () => {
      while (served < SERVED) {
        const answer = await stack.chat({ model: "mock-a", messages: [{ role: "user", content: "x" }] });
        await answer.arrayBuffer();
        if (answer.status === 200) served++;
        else await new Promise((resolve) => { setTimeout(resolve, 40); });
      }
    };
    await Promise.all(Array.from({ length: 12 }, ask));
    const stats = await stack.mockStats();
    return { stack, refused: stats.requests["/v1/chat/completions"]["429"] ?? 0, keys: stats.keys };
  } catch (error) {
    await stack.stop();
    throw error;
  }
}

test("with forecasts the provider refuses a tenth as often", { timeout: 120000 }, async (t) => {
  const [off, on] = await Promise.all([refusals("no", "requests/1s=10"), refusals("yes", "requests/1s=10")]);
  try {
    t.diagnostic(`refused: ${off.refused} off, ${on.refused} on`);
    assert.ok(off.refused >= 10, `only ${off.refused}`);
    assert.ok(on.refused * 10 <= off.refused, `${on.refused} of ${off.refused}`);
    assert.equal(Object.keys(on.keys).length, KEYS, "and every key is used");

    await t.test("what is known is shown", async () => {
      const key = await on.stack.manage("GET", `keys/${on.stack.key.id}`);
      const told = key.forecast.find((q) => q.kind === "exact");
      assert.deepEqual([told.unit, told.capacity, told.model, told.window_s], ["requests", 10, "mock-a", 1]);
      assert.ok(told.remaining >= 0 && told.remaining <= 10, JSON.stringify(told));
      const metrics = await (await fetch(on.stack.url + "/metrics")).text();
      assert.match(metrics, new RegExp(`sluice_key_quota_remaining\\{key="${on.stack.key.id}",quota="requests",`
        + "seconds=\"1\",model=\"mock-a\"\\} \\d+"));
    });

    await t.test("a quota of an hour that will not last is told of, before it is used up", async () => {
      on.stack.command(["key", "set", on.stack.key.id, "--quotas", "requests/hour=400"]);
      for (let i = 0; i < 60; i++) await (await on.stack.chat({ model: "mock-b" })).arrayBuffer();
      const key = await until("it is foreseen", 10000, async () => {
        const now = await on.stack.manage("GET", `keys/${on.stack.key.id}`);
        return now.runs_dry && now;
      });
      const given = key.forecast.find((q) => q.kind === "given");
      assert.deepEqual([given.unit, given.window_s, given.capacity, given.model], ["requests", 3600, 400, null]);
      assert.ok(given.remaining > 0 && given.used > 0 && given.rate_per_minute > 0, JSON.stringify(given));
      assert.equal(given.runs_dry_at, key.runs_dry_at);
      assert.match(key.runs_dry, /^\d{4}-\d\d-\d\d \d\d:\d\d ± \d+ (s|min|h)$/);
      assert.match(on.stack.command(["key", "list"]), /RUNS DRY[^]*\d\d:\d\d ± \d+/);
      assert.match(await (await fetch(on.stack.url + "/metrics")).text(), /sluice_key_runs_dry_seconds\{.*seconds="3600"/);
      await until("an alert is logged", 5000, () => /"alert".*quota of requests runs dry at/.test(on.stack.logs()));
    });
  } finally {
    await off.stack.stop();
    await on.stack.stop();
  }
});

test("what a person gave holds too, where no header tells", { timeout: 60000 }, async (t) => {
  const on = await refusals("yes", "requests/1s=10", { told: 0, keys: ["--quotas", "requests/1s=10"] });
  try {
    t.diagnostic(`refused: ${on.refused}`);
    assert.ok(on.refused <= 2, `${on.refused}`);
  } finally {
    await on.stack.stop();
  }
});
