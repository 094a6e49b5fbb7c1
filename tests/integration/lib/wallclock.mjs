// wallclock.mjs - a wall clock that steps while the programs run (tests/tools/wallclock.c).

import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { flavour, programs } from "./stack.mjs";

const preload = path.join(programs, "tests/tools/wallclock.so");

export class WallClock {
  // What the programs' clocks begin at, ISO 8601; without one, at the truth.
  constructor(from) {
    if (!fs.existsSync(preload)) throw new Error(`${preload} is missing; make test builds it`);
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), "sluice-clock-"));
    this.file = path.join(this.dir, "clock");
    this.fd = fs.openSync(this.file, "w");
    this.base = from === undefined ? 0 : Date.parse(from) - Date.now();
    // a word for each process there can be; hardly one of them is ever written
    fs.ftruncateSync(this.fd, (Number(fs.readFileSync("/proc/sys/kernel/pid_max", "utf8")) + 1) * 8);
    this.step(0);
    this.env = { LD_PRELOAD: preload, WALLCLOCK: this.file,
      // that library comes before the sanitizer's, and takes nothing from it
      ...(flavour === "san" ? { ASAN_OPTIONS: "detect_leaks=1:exitcode=99:verify_asan_link_order=0" } : {}) };
  }

  // So many ms off, all processes or on top of that one.
  step(ms, pid = 0) {
    const word = Buffer.alloc(8);
    word.writeBigInt64LE(BigInt(pid === 0 ? this.base + ms : ms));
    fs.writeSync(this.fd, word, 0, 8, pid * 8);
  }

  // What all see that have no step of their own, before slewing: board time when nothing was stepped.
  now() {
    return Date.now() + this.base;
  }

  close() {
    fs.closeSync(this.fd);
    fs.rmSync(this.dir, { recursive: true });
  }
}
