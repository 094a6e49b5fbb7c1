// streams.mjs - many streams at once, each told by its hash; and what processes take.

import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";

const agent = new http.Agent({ keepAlive: false, maxSockets: Infinity });

export function streamHash(url, token, model) {
  const body = JSON.stringify({ model, stream: true, stream_options: { include_usage: true },
    messages: [{ role: "user", content: "x" }] });
  return new Promise((done) => {
    const hash = crypto.createHash("sha256");
    const request = http.request(`${url}/v1/chat/completions`, { method: "POST", agent,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json",
        "content-length": Buffer.byteLength(body) } }, (answer) => {
      answer.on("data", (piece) => hash.update(piece));
      answer.on("end", () => done(answer.statusCode === 200 ? hash.digest("hex") : `status ${answer.statusCode}`));
      answer.on("error", (e) => done(e.message));
    });
    request.on("error", (e) => done(e.message));
    request.end(body);
  });
}

// Resident and not shared with anyone else: KB of all these processes together.
export function residentKb(pids) {
  return pids.reduce((sum, pid) => sum
    + Number(/^Rss: +(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))[1]), 0);
}
