// make bench: sluice behind lighttpd against nginx's bare proxy_pass, on the same mock, in one run:
// medians of interleaved rounds, as ratios.  README.md beside this file explains and has figures.
//
//   node bench.mjs [--rounds N] [--seconds N] [--streams N] [--tokens N] [--json]

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { Stack, descendants, freePort, programs, until } from "../integration/lib/stack.mjs";
import { streamHash } from "../integration/lib/streams.mjs";

const { values: options } = parseArgs({ options: {
  rounds: { type: "string", default: "5" },
  seconds: { type: "string", default: "3" },
  streams: { type: "string", default: "1000" },
  tokens: { type: "string", default: "50000" },
  json: { type: "boolean", default: false },
} });
const rounds = Number(options.rounds);

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const micros = (text) => {
  const [, n, unit] = /([\d.]+)(us|ms|s)/.exec(text);
  return Number(n) * { us: 1, ms: 1000, s: 1e6 }[unit];
};
const say = (text) => options.json || process.stderr.write(text + "\n");

// CPU seconds of these processes so far.
function cpu(pids) {
  return pids.reduce((sum, pid) => {
    const fields = fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
    return sum + (Number(fields[11]) + Number(fields[12])) / 100;
  }, 0);
}

async function wrk(stack, url, token, connections) {
  const script = path.join(stack.dir, "post.lua");
  fs.writeFileSync(script, `
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer ${token}"
wrk.body = '{"model":"mock-bench","messages":[{"role":"user","content":"Hello"}]}'
function done(summary) io.write("bad " .. summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout .. "\\n") end
`);
  const child = spawn("wrk", ["-t1", `-c${connections}`, `-d${options.seconds}s`, "--latency", "-s", script,
    `${url}/v1/chat/completions`], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (piece) => (text += piece));
  await once(child, "close");
  const bad = Number(/bad (\d+)/.exec(text)[1]);
  if (bad > 0) throw new Error(`${bad} requests to ${url} failed\n${text}`);
  return { perSecond: Number(/Requests\/sec: +([\d.]+)/.exec(text)[1]), p50: micros(/50% +(\S+)/.exec(text)[1]) };
}

async function startNginx(stack) {
  const port = await freePort();
  const file = path.join(stack.dir, "bare.conf");
  fs.writeFileSync(file, `
worker_processes 1; daemon off; error_log ${stack.log}/bare.log; pid ${stack.log}/bare.pid;
events { worker_connections 16384; }
http {
  client_body_temp_path ${stack.log}/b; proxy_temp_path ${stack.log}/p; fastcgi_temp_path ${stack.log}/f;
  uwsgi_temp_path ${stack.log}/u; scgi_temp_path ${stack.log}/s; access_log off;
  upstream mock { server ${new URL(stack.mock.url).host}; keepalive 1024; }
  server { listen 127.0.0.1:${port} backlog=4096; location / {
    proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
  } }
}`);
  const nginx = stack.run("nginx", ["-c", file], { log: "bare.out" });
  const url = `http://127.0.0.1:${port}`;
  await until("nginx answers", 10000, async () => (await fetch(`${url}/v1/models`)).ok);
  return { url, pids: () => [nginx.pid, ...descendants(nginx.pid)] };
}

async function streamCpu(count, url, token, pids) {
  const before = cpu(pids);
  const hashes = await Promise.all(Array.from({ length: count }, () =>
    streamHash(url, token, "mock:chunks=40,interval=50,bytes=20")));
  const bad = hashes.filter((h) => h !== hashes[0] || h.length !== 64);
  if (bad.length > 0) throw new Error(`${bad.length} streams through ${url} broke: ${bad[0]}`);
  return ((cpu(pids) - before) * 1e6) / (count * 40);
}

const stack = await Stack.start({ server: "lighttpd-socket", settings: { workers: 2 } });
try {
  // all that a request can meet: token, several limits, a budget, the row committed before the end
  await stack.manage("POST", "prices", { model: "mock*", input: "1", output: "2" });
  for (const limit of [{ metric: "cost", window: "month", cap: "100000000" },
    { metric: "requests", window: "minute", cap: 100000000 }, { metric: "requests", window: "day", cap: 1000000000 },
    { metric: "tokens", window: "minute", cap: 1000000000000 }, { metric: "parallel", window: "total", cap: 100000 }])
    await stack.manage("POST", "limits", { scope: { token: "each" }, ...limit });
  await stack.manage("POST", "limits", { scope: { project: "each" }, metric: "cost", window: "day", cap: "100000000" });
  const nginx = await startNginx(stack);
  const ways = {
    direct: { url: stack.mock.url, token: "sk-bench" },
    nginx: { url: nginx.url, token: "sk-bench" },
    sluice: { url: stack.url, token: stack.token },
  };
  const figures = Object.fromEntries(Object.keys(ways).map((k) => [k, { perSecond: [], p50: [], cpu: [] }]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, way] of Object.entries(ways)) {
      const many = await wrk(stack, way.url, way.token, 64);
      const one = await wrk(stack, way.url, way.token, 1);
      figures[name].perSecond.push(many.perSecond);
      figures[name].p50.push(one.p50);
      say(`round ${round + 1} ${name}: ${many.perSecond.toFixed(0)}/s with 64, ${one.p50} us with one`);
    }
  }
  const streams = Number(options.streams);
  const workerCpu = [];
  for (let round = 0; round < Math.min(rounds, 3) && streams > 0; round++) {
    figures.nginx.cpu.push(await streamCpu(streams, nginx.url, "sk-bench", nginx.pids()));
    const lighttpd = [stack.web.pid];
    const before = cpu(stack.workers());
    const all = await streamCpu(streams, stack.url, stack.token, [...stack.workers(), ...lighttpd]);
    workerCpu.push(((cpu(stack.workers()) - before) * 1e6) / (streams * 40));
    figures.sluice.cpu.push(all);
    say(`round ${round + 1} streams: nginx ${figures.nginx.cpu.at(-1).toFixed(1)} us an event, `
      + `sluice's workers ${workerCpu.at(-1).toFixed(1)}, with lighttpd ${all.toFixed(1)}`);
  }
  const m = Object.fromEntries(Object.entries(figures).map(([k, f]) => [k, {
    perSecond: median(f.perSecond), p50: median(f.p50), cpu: f.cpu.length ? median(f.cpu) : null }]));
  const result = {
    requests_per_second_64: { direct: m.direct.perSecond, nginx: m.nginx.perSecond, sluice: m.sluice.perSecond },
    ratio_to_nginx_64: m.sluice.perSecond / m.nginx.perSecond,
    mock_to_sluice: m.direct.perSecond / m.sluice.perSecond,
    median_us_1: { direct: m.direct.p50, nginx: m.nginx.p50, sluice: m.sluice.p50 },
    added_ratio_1: (m.sluice.p50 - m.direct.p50) / (m.nginx.p50 - m.direct.p50),
    cpu_us_an_event: streams > 0 && { nginx: m.nginx.cpu, workers: median(workerCpu), workers_and_lighttpd: m.sluice.cpu },
    cpu_ratio_workers: streams > 0 && median(workerCpu) / m.nginx.cpu,
  };
  console.log(JSON.stringify(result, null, 2));
  // those that fail where a target is missed come last
  for (const [name, ...words] of [["board_bench"], ["ledger_bench", options.tokens], ["route_bench"], ["wire_bench"]]) {
    const run = spawnSync(path.join(programs, "tests/bench", name), words, { encoding: "utf8" });
    console.log(run.stdout);
    if (run.status !== 0) throw new Error(`${name}: ${run.stderr.slice(-2000)}`);
  }
} finally {
  await stack.stop();
}
