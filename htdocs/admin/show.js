/* show.js - how keys and limits look, on whichever page they are shown. */
import { badge, h, svg } from "./dom.js";
import { ago, fullTime, minute, number, when } from "./format.js";
import { nano, usd } from "./money.js";
import { nameOf } from "./pick.js";
import { href } from "./router.js";

/* In plain words: what each does with the targets. */
export const strategies = [["weighted", "By weight, in turn over all keys"], ["round-robin", "In turn over accounts, then keys"],
	["first", "The first that can be asked"], ["priority", "Tiers by priority, by weight within one"],
	["split", "Percentages of all requests"], ["latency", "The quickest to answer"],
	["least-inflight", "The least busy"], ["sequential", "One key until its quota is spent"],
	["balanced", "Rather the less used"], ["same", "The last one again"], ["random", "By chance"],
	["objective", "The best by objectives"]];
export const objectivesHint = "Shares, such as cost=2, reliability=1; also fairness, quality, latency.";

const causes = { rate_limit: "rate limit", no_credit: "no credit", overloaded: "provider overloaded",
	failures: "too many failures", health: "health check", person: "by hand", probe: "by a try", time: "time" };
export const causeText = (cause) => causes[cause] ?? cause ?? "";

export function keyBadge(k) {
	const until = k.rests_until ? ` until ${minute(k.rests_until)}` : "";
	const why = [k.rests_until && fullTime(k.rests_until), k.last_error].filter(Boolean).join(": ");
	switch (k.state) {
	case "disabled":
		return badge("off", "Disabled", k.disabled_reason);
	case "invalid":
		return badge("bad", "Refused by provider", why);
	case "exhausted":
		return badge("bad", `Used up${until}`, why);
	case "throttled":
		return badge("warn", `Resting${until}`, why);
	case "recovering":
		return badge("warn", "Coming back", why);
	default:
		return k.breaker && k.breaker !== "closed" && k.breaker !== "forced_closed"
			? badge("bad", `Breaker open${until}`, why) : badge("good", "Available");
	}
}

const event = (e) => h("li", {}, h("span", { title: fullTime(e.time) }, when(e.time)), ` ${e.kind === "breaker" ? "breaker " : ""}`,
	e.kind !== "quota" && (e.from === e.to ? e.to : `${e.from} → ${e.to}`).replaceAll("_", " "), e.model && ` at ${e.model}`,
	e.cause && `, ${causeText(e.cause)}`, e.status && ` (HTTP ${e.status})`,
	e.evidence && h("span", { class: "dim" }, ` ${e.evidence}`));

/* The history of a key or an upstream, folded; nothing where there is none. */
export const whatBecame = (past) => past.data.length > 0 && h("details", {}, h("summary", {}, "What became of it"),
	h("ul", { class: "feed" }, past.data.map(event)));

/* "14:32 ± 3 min": when a key's quota is used up before its reset. */
export function runsDry(k) {
	if (!k.runs_dry_at)
		return "–";
	const spread = k.runs_dry.split(" ± ")[1];
	const past = new Date(k.runs_dry_at) <= new Date();
	return h("span", { title: fullTime(k.runs_dry_at) }, past ? "used up" : `${minute(k.runs_dry_at)} ± ${spread}`);
}

export function quotaText(q) {
	const window = q.window_s === null ? "" : q.window_s % 86400 === 0 ? ` in ${q.window_s / 86400} d`
		: q.window_s % 3600 === 0 ? ` in ${q.window_s / 3600} h` : q.window_s % 60 === 0
			? ` in ${q.window_s / 60} min` : ` in ${q.window_s} s`;
	return `${q.remaining === null ? "?" : number(q.remaining)} of ${q.capacity === null ? "?" : number(q.capacity)} `
		+ `${q.unit.replace("_", " ")}${window}${q.model ? `, ${q.model}` : ""} (${q.kind})`;
}

/* A share of a whole, for limits: used and reserved against the cap. */
function meter(used, reserved, label) {
	const u = Math.min(Math.max(used, 0), 1), r = Math.min(Math.max(reserved, 0), 1 - u);
	const kind = used >= 1 ? "bad" : used >= 0.8 ? "warn" : "good";
	return svg("svg", { class: "meter", viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img",
		"aria-label": label },
	svg("rect", { class: "track", width: 100, height: 8 }),
	svg("rect", { class: kind, width: u * 100, height: 8 }),
	svg("rect", { class: "reserved", x: u * 100, width: r * 100, height: 8 }));
}

export const metrics = [["requests", "requests"], ["cost", "dollars"], ["tokens", "tokens"],
	["input_tokens", "input tokens"], ["output_tokens", "output tokens"], ["parallel", "calls at once"]];

export const amount = (l, v) => (v === null || v === undefined ? "–" : l.metric === "cost" ? usd(v) : number(Number(v)));
const windowText = (l) => (l.metric === "parallel" ? "" : l.window === "total" ? " in all"
	: l.window.startsWith("rolling:") ? ` within ${number(Number(l.window.slice(8)))} s` : ` a ${l.window}`);
export const capText = (l) => (l.metric === "cost" ? usd(l.cap)
	: `${number(Number(l.cap))} ${metrics.find(([m]) => m === l.metric)?.[1] ?? l.metric}`) + windowText(l);

export function scopeText(scope = {}) {
	const kinds = { project: "projects", token: "tokens", upstream: "upstreams", key: "keys" };
	const parts = Object.entries(scope).filter(([, v]) => v).map(([k, v]) => [k.replace("_", " "), v, kinds[k]])
		.map(([k, v, kind]) => (v === "each" ? [`each ${k}`] : kind ? [`${k} `, nameOf(kind, v)] : [`${k} ${v}`]));
	if (parts.length === 0)
		return "everything";
	return h("span", {}, parts.flatMap((p, i) => (i > 0 ? [", ", ...p] : p)));
}

export function use(l) {
	if (Object.values(l.scope ?? {}).includes("each") && (l.used === null || l.used === undefined))
		return h("span", { class: "dim" }, "a counter for each");
	const share = (v) => {
		const cap = l.metric === "cost" ? Number(nano(l.cap) ?? 0n) : Number(l.cap);
		const n = l.metric === "cost" ? Number(nano(v) ?? 0n) : Number(v ?? 0);
		return cap > 0 ? n / cap : n > 0 ? 1 : 0;
	};
	const text = `${amount(l, l.used)} of ${amount(l, l.cap)}`;
	return h("span", { class: "use" }, meter(share(l.used), share(l.reserved), `${text} used`),
		h("span", {}, `${Math.floor(share(l.used) * 100)} %`), h("span", { class: "dim" }, text));
}

export const resets = (l) => (l.resets_at ? h("span", { title: fullTime(l.resets_at) }, ago(l.resets_at)) : "–");

/* For the dialog of a token: the same in short. */
export function limitList(data) {
	if (data.length === 0)
		return h("p", { class: "dim" }, "No limit is set for it.");
	return h("ul", { class: "feed" }, data.map((l) => h("li", {},
		h("a", { href: href("limits", { id: l.id }) }, capText(l)), " for ", scopeText(l.scope), " ", use(l),
		l.resets_at && h("span", { class: "dim" }, " anew ", resets(l)))));
}
