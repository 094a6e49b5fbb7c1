/* overview.js - how is it going: four numbers, what they are made of, last errors, state of the keys. */
import { api } from "../api.js";
import { chart } from "../chart.js";
import { badge, h, later, select } from "../dom.js";
import { ago, day, dayTime, minute, number, short, when } from "../format.js";
import { decimal, nano, usdNano } from "../money.js";
import { every, page } from "../page.js";
import { nameOf } from "../pick.js";
import { href, set } from "../router.js";
import { keyBadge } from "../show.js";

const ranges = {
	hour: { text: "Last hour", step: "minute", size: 60e3, n: 60, axis: minute,
		label: (t) => `${minute(t)}` },
	day: { text: "Last 24 hours", step: "hour", size: 3600e3, n: 24, axis: minute, label: dayTime },
	month: { text: "Last 30 days", step: "day", size: 86400e3, n: 30, axis: day, label: day }
};
const splits = [["model", "Model"], ["project", "Project"], ["token", "Token"],
	["upstream", "Upstream"], ["key", "Key"]];
const kinds = { project: "projects", token: "tokens", upstream: "upstreams", key: "keys" };
const SERIES = 6;

const tokensOf = (t) => t.input + t.cache_read + t.cache_write + t.output;
const metrics = {
	requests: { name: "Requests", of: (r) => r.requests, show: number, tick: short, whole: true },
	errors: { name: "Errors", of: (r) => r.errors, show: number, tick: short, whole: true },
	tokens: { name: "Tokens", of: (r) => tokensOf(r.tokens), show: short, whole: true },
	/* The bars are drawn in whole nano-dollars; below 2^53 of them a Number is exact. */
	cost: { name: "Cost", of: (r) => Number(nano(r.cost) ?? 0n),
		show: (n) => usdNano(BigInt(Math.round(n))) }
};

function settings(params) {
	return {
		range: ranges[params.range] ? params.range : "day",
		by: splits.some(([v]) => v === params.by) ? params.by : "model",
		of: metrics[params.of] ? params.of : "requests"
	};
}

function tiles(rows, of) {
	const total = (fn) => rows.reduce((t, r) => t + fn(r), 0);
	const requests = total((r) => r.requests), errors = total((r) => r.errors);
	const unpriced = total((r) => r.unpriced ?? 0);
	const cost = rows.reduce((t, r) => t + (nano(r.cost) ?? 0n), 0n);
	const cached = total((r) => r.tokens.cache_read);
	const tile = (name, value, note, alarm, title) => h("button", { type: "button", class: "tile",
		"aria-pressed": String(of === name), title, onclick: () => set({ of: name }) },
	h("span", { class: "dim" }, metrics[name].name), h("strong", {}, value),
	h("span", { class: alarm ? "alarm" : "dim" }, note));
	return h("div", { class: "tiles", role: "group", "aria-label": "Show in the chart" },
		tile("requests", number(requests), "in all"),
		tile("errors", number(errors), requests === 0 ? "none"
			: `${(errors * 100 / requests).toFixed(1)} % of requests`, errors > requests / 20),
		tile("tokens", short(total((r) => tokensOf(r.tokens))),
			`${short(total((r) => r.tokens.output))} out, ${short(cached)} from cache`),
		tile("cost", usdNano(cost), unpriced > 0 ? `▲ ${number(unpriced)} without a price`
			: "all priced", unpriced > 0, `$${decimal(cost)}`));
}

function drawing(rows, { range, by, of }, from) {
	const { n, size, axis, label } = ranges[range];
	const metric = metrics[of];
	const times = Array.from({ length: n }, (_, i) => new Date(from + i * size));
	const found = new Map();
	for (const r of rows) {
		const i = Math.floor((Date.parse(r.from) - from) / size);
		if (i < 0 || i >= n)
			continue;
		if (!found.has(r.value))
			found.set(r.value, { name: r.label || (/^(|\w+_0+)$/.test(r.value) ? "(none)" : r.value), values: Array(n).fill(0),
				total: 0 });
		const s = found.get(r.value);
		s.values[i] += metric.of(r);
		s.total += metric.of(r);
	}
	const all = [...found.values()].filter((s) => s.total > 0).sort((a, b) => b.total - a.total);
	const series = all.slice(0, SERIES);
	if (all.length > SERIES)
		series.push({ name: `${all.length - SERIES} others`, other: true, values: times.map((_, i) =>
			all.slice(SERIES).reduce((t, s) => t + s.values[i], 0)) });
	if (series.length === 0)
		return h("p", { class: "empty" }, of === "errors" ? "No errors in this time."
			: "Nothing in this time.");
	return chart({ times, series, label, axis, show: metric.show, whole: metric.whole,
		tick: metric.tick, what: `${metric.name} by ${by}, ${ranges[range].text.toLowerCase()}` });
}

async function firstSteps() {
	const has = async (kind) => (await api.get(kind, { limit: 1 })).data.length > 0;
	const [up, key, project, token] = await Promise.all(
		["upstreams", "keys", "projects", "tokens"].map(has));
	const step = (done, text, to) => h("li", { class: done ? "done" : null },
		h("span", { "aria-hidden": "true" }, done ? "✓ " : "○ "),
		h("a", { href: to }, text), h("span", { class: "sr" }, done ? " (done)" : " (to do)"));
	return h("section", { class: "panel" }, h("h2", {}, "First steps"), h("ol", { class: "steps" },
		step(up, "Add an upstream: a provider or a model server", href("upstreams", { new: 1 })),
		step(key, "Give it a key", href("keys", { new: 1 })),
		step(project, "Make a project: who pays", href("projects", { new: 1 })),
		step(token, "Mint a token and try the snippet", href("tokens", { new: 1 }))));
}

function lastErrors({ data }) {
	if (data.length === 0)
		return h("p", { class: "empty" }, "No failed request on record.");
	return h("ul", { class: "feed" }, data.map((r) => h("li", {},
		h("a", { href: href("requests", { failed: 1, id: r.id }) },
			h("span", { class: "badge bad" }, h("span", { "aria-hidden": "true" }, "▲ "),
				String(r.status)), " ", r.code || r.ended_by),
		h("span", { class: "dim" }, ` ${when(r.time)} · ${r.model || r.endpoint}`),
		r.error && h("p", {}, r.error))));
}

function keyStates({ data, next }) {
	if (data.length === 0)
		return h("p", { class: "empty" }, "No keys yet.");
	const order = { invalid: 0, exhausted: 1, throttled: 2, recovering: 3, available: 4, disabled: 5 };
	const rows = [...data].sort((a, b) => order[a.state] - order[b.state]);
	return h("ul", { class: "feed" }, rows.slice(0, 12).map((k) => h("li", {}, keyBadge(k), " ",
		h("a", { href: href("keys", { id: k.id }) }, k.label || k.masked),
		h("span", { class: "dim" }, " ", k.upstream_name || nameOf("upstreams", k.upstream)),
		["invalid", "exhausted"].includes(k.state) && k.last_error && h("p", {}, k.last_error))),
	(rows.length > 12 || next) && h("li", {}, h("a", { href: href("keys") }, "All keys")));
}

/* Those that wait stand first, by their place in line. */
function runningNow({ data, total, waiting }) {
	if (total === 0)
		return h("p", { class: "empty" }, "Nothing runs now.");
	const rows = [...data].sort((a, b) => (a.position ?? Infinity) - (b.position ?? Infinity)).slice(0, 6);
	return [h("p", {}, `${number(total - waiting)} running, ${number(waiting)} waiting for a turn.`),
		h("ul", { class: "feed" }, rows.map((r) => h("li", {},
			r.state === "waiting" ? badge("warn", `waits, no. ${r.position}`) : badge("good", "runs"),
			` ${r.model || r.endpoint}`, h("span", { class: "dim" }, ` ${r.project ?? ""} · ${r.state === "waiting"
				? `since ${ago(r.waiting_since)}` : `came ${ago(r.time)}`}`))))];
}

export function overviewPage(ctx) {
	let state = settings(ctx.params);
	const range = select(Object.entries(ranges).map(([v, r]) => [v, r.text]), state.range,
		{ "aria-label": "Time", onchange: () => set({ range: range.value }) });
	const by = select(splits.map(([v, t]) => [v, `by ${t.toLowerCase()}`]), state.by,
		{ "aria-label": "Split", onchange: () => set({ by: by.value }) });
	const steps = h("div");
	const fresh = h("p", { class: "dim fresh" });

	async function usage() {
		const { step, size, n } = ranges[state.range];
		const to = Date.now();
		const from = (Math.floor(to / size) - n + 1) * size;
		const { data } = await api.get("usage", { by: state.by, step,
			from: new Date(from).toISOString(), to: new Date(to).toISOString() }, ctx.signal);
		if (data.length === 0 && steps.childElementCount === 0)
			firstSteps().then((el) => steps.replaceChildren(el), () => {});
		else if (data.length > 0)
			steps.replaceChildren();
		fresh.textContent = `as of ${when(new Date(to))}`;
		return [tiles(data, state.of), h("section", { class: "panel" }, h("h2", {},
			`${metrics[state.of].name} by ${state.by}`), drawing(data, state, from))];
	}

	const figures = later(ctx.signal, usage, 6);
	const errors = later(ctx.signal, async () => lastErrors(await api.get("requests",
		{ failed: 1, limit: 8 }, ctx.signal)));
	const keys = later(ctx.signal, async () => keyStates(await api.get("keys", { limit: 200 },
		ctx.signal)));

	const running = later(ctx.signal, async () => runningNow(await api.get("inflight", { limit: 1000 },
		ctx.signal)));

	every(ctx, 5000, () => running.refresh());
	/* Not under the reader's hands: a chart in use, or a table that is open, stays. */
	every(ctx, 15000, async () => {
		if (!figures.matches(":hover, :focus-within") && !figures.querySelector("details[open]"))
			figures.refresh();
		if (!errors.matches(":focus-within"))
			errors.refresh();
		if (!keys.matches(":focus-within"))
			keys.refresh();
	});
	ctx.watch(async (params) => {
		const pressed = document.activeElement?.closest(".tile") !== null &&
			figures.contains(document.activeElement);
		state = settings(params);
		range.value = state.range;
		by.value = state.by;
		await figures.refresh();
		if (pressed)
			figures.querySelector("[aria-pressed=true]")?.focus();
	});

	return page("Overview", [fresh, range, by], steps, figures,
		h("div", { class: "two" },
			h("section", { class: "panel" }, h("h2", {}, "Now"), running),
			h("section", { class: "panel" }, h("h2", {}, "Last errors"), errors),
			h("section", { class: "panel" }, h("h2", {}, "Keys"), keys)));
}
