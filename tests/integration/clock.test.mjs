// The wall clock steps by an hour while workers and CGI processes run under load: nothing that was
// used comes free, nothing is counted twice.  And a window's turn under load: full again, once.
// SLUICE_LONG=1: minutes of it.

import assert from "node:assert/strict";
import http from "node:http";
import { describe, test } from "node:test";
import { SLOW, Stack, sleep, until } from "./lib/stack.mjs";
import { WallClock } from "./lib/wallclock.mjs";

const LONG = process.env.SLUICE_LONG === "1";
const WORKERS = LONG ? 8 : 4;
const ROUNDS = LONG ? 10 : 1; // through all the steps
const HOUR = 3600_000;
const TICK_MS = 1200; // a worker's clerk looks at the clock each second
const body = { model: "mock-clock", max_tokens: 10, messages: [{ role: "user", content: "one" }] };
const nano = (usd) => BigInt(usd.replace(".", ""));
const agent = new http.Agent({ keepAlive: false, maxSockets: Infinity });

async function start(clock) {
  const stack = await Stack.start({ server: "nginx", settings: { workers: WORKERS }, mock: ["--delay-ms", "5"],
    env: clock.env });
  await stack.manage("POST", "prices", { model: "mock*", input: "0", output: "0", request: "1" });
  return stack;
}

// One request: when it was sent and answered, its status and headers.
function ask(stack, token) {
  const text = JSON.stringify(body), sent = Date.now();
  return new Promise((done, failed) => {
    const request = http.request(`${stack.url}/v1/chat/completions`, { method: "POST", agent,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json",
        "content-length": Buffer.byteLength(text) } }, (answer) => {
      answer.resume();
      answer.on("end", () => done({ sent, got: Date.now(), status: answer.statusCode, headers: answer.headers }));
      answer.on("error", failed);
    });
    request.on("error", failed);
    request.end(text);
  });
}

async function tokenWith(stack, limit) {
  const token = stack.command(["token", "add", "--project", "first", "--json"]);
  const made = await stack.manage("POST", "limits", { scope: { token: token.id }, ...limit });
  return { ...token, limit: made.id, cap: Number(limit.cap), name: `${limit.metric} ${made.window}`, asked: 0, passed: [],
    refused: [] };
}
const limitOf = (stack, t) => stack.manage("GET", `limits/${t.limit}`);

// The answer, put with the others of its token.  What is refused before the cap was asked for was counted twice.
async function askOf(stack, t, cgi = false) {
  t.asked++;
  const sent = Date.now();
  const answer = cgi ? { status: await stack.cgi(body, t.token), sent, got: Date.now() } : await ask(stack, t.token);
  assert.ok(answer.status === 200 || answer.status === 429, `${t.name}: status ${answer.status}`);
  answer.asked = t.asked;
  (answer.status === 200 ? t.passed : t.refused).push(answer);
}

async function rowsOf(stack, t) {
  const rows = [];
  for (let cursor = ""; cursor !== null;) {
    const page = await stack.manage("GET", `requests?limit=500&token_id=${t.id}${cursor && `&cursor=${cursor}`}`);
    rows.push(...page.data);
    cursor = page.next;
  }
  assert.equal(new Set(rows.map((r) => r.id)).size, rows.length, "an exchange is booked twice");
  return rows;
}

// Board = rows = rollups = what the clients got, and nothing is held.
async function agree(stack, t) {
  const board = await until(`${t.name}: nothing is held`, 5000, async () => {
    const l = await limitOf(stack, t);
    return Number(l.reserved) === 0 && l;
  });
  const rows = await rowsOf(stack, t);
  const passed = rows.filter((r) => r.status === 200);
  assert.equal(passed.length, t.passed.length, `${t.name}: rows and answers`);
  assert.equal(rows.length, t.asked, `${t.name}: rows and requests`);
  const spent = passed.reduce((sum, r) => sum + nano(r.cost), 0n);
  assert.equal(spent, BigInt(t.passed.length) * 1000000000n);
  // an hour ahead is another day, and another month
  const { data } = await stack.manage("GET",
    `usage?by=token&step=day&value=${t.id}&from=2026-01-01T00:00:00Z&to=2028-01-01T00:00:00Z`);
  assert.equal(data.reduce((sum, u) => sum + nano(u.cost), 0n), spent, `${t.name}: rollups and rows`);
  const token = await stack.manage("GET", `tokens/${t.id}`);
  assert.equal(token.request_count, t.passed.length, `${t.name}: what the token says`);
  assert.equal(nano(token.cost), spent, `${t.name}: what the token says`);
  return { board, rows };
}

// Passes of one window are those answered before its end and sent after its start: what was under way at the turn
// may be of either.
function turned(of, at, until = Infinity) {
  const near = 100; // clocks are read in three places
  return { before: of.passed.filter((a) => a.got < at - near).length,
    after: of.passed.filter((a) => a.sent > at + near && a.got < until - near).length };
}

describe("time", { concurrency: true }, () => {
  test("the wall clock steps by an hour, and processes see different ones",
    { timeout: (LONG ? 900_000 : 120_000) * SLOW }, async (t) => {
      // An hour on begins an hour, a day, a week and a month.
      const clock = new WallClock("2027-01-31T23:30:02Z");
      const stack = await start(clock), end = Date.parse("2027-02-01T00:00:00Z") - clock.base;
      try {
        const cap = LONG ? 3000 : 70;
        const tokens = [];
        for (const limit of [{ window: "minute" }, { window: "hour" }, { window: "day" }, { window: "week" }, { window: "month" },
          { window: "total" }, { window: "rolling", window_s: 3600 }, { window: "month", metric: "cost" },
          { window: "rolling", window_s: 7200, metric: "cost" }])
          tokens.push(await tokenWith(stack, { metric: "requests", cap: limit.metric === "cost" ? String(cap) : cap, ...limit }));
        const workers = stack.workers();
        assert.equal(workers.length, WORKERS);
        const apart = (of) => workers.forEach((pid, i) => clock.step(of(i), pid));
        const steps = {
          "an hour on": () => clock.step(HOUR),
          "back": () => clock.step(0),
          "an hour back": () => clock.step(-HOUR),
          "on again": () => clock.step(0),
          "one worker after the other an hour on": async () => {
            for (const pid of workers) {
              clock.step(HOUR, pid);
              await sleep(200);
            }
          },
          "half of the workers an hour on, half an hour back": () => apart((i) => (i % 2 ? HOUR : -HOUR)),
          "the other way round": () => apart((i) => (i % 2 ? -HOUR : HOUR)),
          "back, all": () => apart(() => 0),
        };

        // Clients of each token, one of them through CGI now and then, ask until it has passed so much.
        let share = 0, ended = false, waiting = 0;
        const clients = tokens.flatMap((of, n) => [0, 1].map(async (i) => {
          for (let turn = n; !ended; turn++) {
            if (share < 1 && of.passed.length >= cap * share) {
              waiting++;
              while (!ended && share < 1 && of.passed.length >= cap * share) await sleep(10);
              waiting--;
            } else {
              await askOf(stack, of, i === 1 && turn % 20 === 0);
              if (share >= 1) await sleep(LONG ? 100 : 20);
            }
          }
        }));
        const broken = Promise.all(clients); // the first failure ends the test
        const step = async (name, to) => {
          await steps[name]();
          share = to;
          await Promise.race([broken, sleep(TICK_MS)]);
          if (to < 1)
            await Promise.race([broken, until(`${name}: a share of ${to} passes`, LONG ? 120_000 : 20_000,
              () => waiting === clients.length)]);
        };
        const names = Object.keys(steps);
        try {
          const minute = (await limitOf(stack, tokens[0])).resets_at;
          await fetch(stack.mock.url + "/mock/reset", { method: "POST" });
          // while it is being used up
          const rounds = names.length * ROUNDS;
          for (let i = 0; i < rounds; i++) await step(names[i % names.length], (i + 1) / (rounds + 1));
          for (const of of tokens.slice(1)) assert.equal(of.refused.length, 0, `${of.name}: refused before its cap`);
          // and when it is used up
          share = 1;
          await until("all is used up", 20_000, () => tokens.slice(1).every((of) => of.refused.length > 0));
          for (let i = 0; i < names.length * ROUNDS; i++) {
            await step(names[i % names.length], 1);
            for (const of of tokens.slice(1)) {
              assert.equal(of.passed.length, cap, `${of.name}: ${names[i % names.length]}`);
              assert.equal(Number((await limitOf(stack, of)).used), cap, `${of.name}: ${names[i % names.length]}`);
            }
          }
          ended = true;
          await broken;
          const minutes = (Date.parse((await limitOf(stack, tokens[0])).resets_at) - Date.parse(minute)) / 60000 + 1;
          if (minutes === 1) assert.equal(tokens[0].passed.length, cap);
          assert.ok(tokens[0].passed.length <= cap * minutes, `${tokens[0].passed.length} in ${minutes} minutes`);
        } finally {
          ended = true;
          await Promise.allSettled(clients);
        }

        // The end: one sum everywhere, nothing held.
        for (const of of tokens) {
          const { board } = await agree(stack, of);
          if (of !== tokens[0]) assert.equal(Number(board.used), cap, of.name);
        }
        assert.equal((await stack.mockStats()).completed, tokens.reduce((sum, of) => sum + of.passed.length, 0));
        assert.deepEqual((await stack.manage("GET", "inflight")).data, []);

        // What was told of waiting, and that the steps were seen: moments are by the clock of whoever answered, which
        // is off by an hour or not; board time goes up to a tenth faster or slower than the clients'.
        const seen = new Set();
        for (const of of tokens)
          for (const { headers, got } of of.refused.filter((a) => a.headers)) {
            if (of.name.endsWith("minute")) {
              const s = Number(headers["retry-after"]);
              assert.ok(Number.isInteger(s) && s >= 0 && s <= 67, `Retry-After: ${headers["retry-after"]}`);
              assert.equal(headers["x-sluice-resets-at"], undefined);
              continue;
            }
            assert.equal(headers["retry-after"], undefined, `${of.name}: a wait no SDK should sleep for`);
            assert.equal(headers["x-should-retry"], "false", of.name);
            if (of.name.includes("total")) {
              assert.equal(headers["x-sluice-resets-at"], undefined);
              continue;
            }
            const wait = Date.parse(headers["x-sluice-resets-at"]) - got - clock.base;
            const length = Number(/rolling:(\d+)/.exec(of.name)?.[1] ?? 0) * 1000;
            // a rolling window frees from its first use on
            const least = length ? length - (got - of.passed[0].sent) : end - got;
            const most = length ? length * 61 / 60 : end - got;
            const step = [-HOUR, 0, HOUR].find((by) => wait - by > least * 0.9 - 60_000 && wait - by < most / 0.9 + 60_000);
            assert.ok(step !== undefined, `${of.name}: to wait ${wait} ms`);
            seen.add(step);
          }
        assert.equal(seen.size, 3, "not all steps were seen");
        for (const of of tokens) t.diagnostic(`${of.name}: ${of.passed.length} passed, ${of.refused.length} refused`);
      } finally {
        await stack.stop();
        clock.close();
      }
    });

  test("a window's turn under load: full again, once", { timeout: (LONG ? 900_000 : 180_000) * SLOW }, async (t) => {
    // minute, hour, day, week and month turn at once
    const turn = "2027-02-01T00:00:00Z", lead = 13_000 * SLOW;
    const clock = new WallClock(new Date(Date.parse(turn) - lead).toISOString());
    const stack = await start(clock);
    try {
      const cap = 60, each = 3, minutes = LONG ? 5 : 1, T = Date.parse(turn) - clock.base;
      const calendar = [];
      for (const window of ["minute", "hour", "day", "week", "month"])
        calendar.push(await tokenWith(stack, { metric: "requests", cap, window }));
      calendar.push(await tokenWith(stack, { metric: "cost", cap: String(cap), window: "minute" }));
      const rolling = await tokenWith(stack, { metric: "requests", cap, window: "rolling", window_s: 10 });
      assert.ok(Date.now() < T - 2000, "the turn came while the programs were started");
      await fetch(stack.mock.url + "/mock/reset", { method: "POST" });
      let ended = false;
      const load = async (of, i) => {
        for (let n = 0; !ended; n++) {
          await askOf(stack, of, i === 0 && n % 25 === 24);
          await sleep(10);
        }
      };
      const clients = [rolling, ...calendar].flatMap((of) => Array.from({ length: each }, (_, i) => load(of, i)));
      const broken = Promise.all(clients);
      const end = T + (minutes - 1) * 60_000 + 4000;
      await Promise.race([broken, sleep(end - Date.now())]);
      await Promise.race([broken, until("all is used up again", 20_000, () =>
        calendar.every((of) => of.passed.length >= 2 * cap) && rolling.passed.length >= 2 * cap)]);
      ended = true;
      await broken;

      for (const of of calendar) {
        const turns = of.name.endsWith("minute") ? minutes : 1;
        assert.equal(of.passed.length, cap * (turns + 1), of.name);
        for (let k = 0; k < turns; k++) {
          const { before, after } = turned(of, T + k * 60_000, T + (k + 1) * 60_000);
          assert.equal(before, cap * (k + 1), `${of.name}: before turn ${k}`);
          assert.ok(after > 0 && after <= cap, `${of.name}: ${after} after turn ${k}`);
        }
        // right to the second, whatever window it is
        for (const a of of.refused.filter((r) => r.headers && r.got < T - 100)) {
          const s = Number(a.headers["retry-after"]);
          assert.ok(a.got + s * 1000 > T - 100 && a.sent + s * 1000 < T + 1100,
            `${of.name}: Retry-After ${a.headers["retry-after"]}, ${T - a.sent} ms before the turn`);
        }
      }
      // In no ten seconds more than the cap, and after each ten that much again.
      const sent = rolling.passed.map((a) => a.sent).sort((a, b) => a - b);
      for (const at of sent) {
        const within = rolling.passed.filter((a) => a.sent >= at && a.got <= at + 10_000).length;
        assert.ok(within <= cap, `${within} in ten seconds`);
      }
      const passing = Math.floor((end - sent[0]) / 11_000);
      assert.ok(rolling.passed.length >= cap * passing, `${rolling.passed.length} in ${end - sent[0]} ms`);
      for (const a of rolling.refused.filter((r) => r.headers))
        assert.match(a.headers["retry-after"], /^(?:\d|1[01])$/);

      // By the rows' own times, which are when a request came, a few that waited at the turn came before it.
      for (const of of [...calendar, rolling]) {
        const { rows } = await agree(stack, of);
        const first = rows.filter((r) => r.status === 200 && Date.parse(r.time) < Date.parse(turn)).length;
        if (of !== rolling) assert.ok(first >= cap && first <= cap + each, `${of.name}: ${first} before the turn`);
        t.diagnostic(`${of.name}: ${of.passed.length} passed, ${first} of them before the turn; ${of.refused.length} refused`);
      }
      assert.equal((await stack.mockStats()).completed,
        [...calendar, rolling].reduce((sum, of) => sum + of.passed.length, 0));
      assert.deepEqual((await stack.manage("GET", "inflight")).data, []);
    } finally {
      await stack.stop();
      clock.close();
    }
  });

  test("limits made while the clock is an hour ahead: the next window begins with nothing used",
    { timeout: 120_000 * SLOW }, async () => {
      const turn = Date.parse("2027-02-01T00:00:00Z"), clock = new WallClock(new Date(turn - 13_000 * SLOW).toISOString());
      const stack = await start(clock);
      try {
        clock.step(HOUR);
        const tokens = [];
        for (const window of ["minute", "hour", "day", "week", "month"])
          tokens.push(await tokenWith(stack, { metric: "requests", cap: 5, window }));
        const useUp = async (of) => {
          for (const refused = of.refused.length; of.refused.length === refused;) await askOf(stack, of);
        };
        for (const of of tokens) {
          await useUp(of);
          assert.equal(of.passed.length, 5, of.name);
        }
        assert.ok(Date.now() < turn - clock.base - 3000 * SLOW, "the turn came too soon");
        for (const of of tokens) {
          await until(`${of.name}: the turn`, 20_000, async () => {
            await askOf(stack, of);
            return of.passed.length > 5;
          });
          await useUp(of);
          assert.equal(of.passed.length, 10, of.name);
          await agree(stack, of);
        }
      } finally {
        await stack.stop();
        clock.close();
      }
    });
});
