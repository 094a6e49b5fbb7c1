/* format.js - numbers and times for people. */

const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit",
	second: "2-digit", hourCycle: "h23" });
const hourMinute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit",
	hourCycle: "h23" });
const dayClock = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric",
	hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const dayOnly = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const grouped = new Intl.NumberFormat("en-US");
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export function number(n) {
	return n === null || n === undefined ? "–" : grouped.format(n);
}

/* 12,345,678 -> 12.3 M */
export function short(n) {
	if (n === null || n === undefined)
		return "–";
	for (const [unit, name] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]])
		if (Math.abs(n) >= unit) {
			const v = n / (name === "k" ? 1e3 : unit);
			return `${v >= 100 ? Math.round(v) : v.toFixed(1)} ${name}`;
		}
	return grouped.format(n);
}

export function bytes(n) {
	if (n === null || n === undefined)
		return "–";
	for (const [unit, name] of [[2 ** 30, "GB"], [2 ** 20, "MB"], [2 ** 10, "KB"]])
		if (n >= unit)
			return `${(n / unit).toFixed(1)} ${name}`;
	return `${n} B`;
}

export function milliseconds(ms) {
	if (ms === null || ms === undefined)
		return "–";
	if (ms < 1000)
		return `${Math.round(ms)} ms`;
	return ms < 60000 ? `${(ms / 1000).toFixed(ms < 10000 ? 2 : 1)} s`
		: `${Math.floor(ms / 60000)} min ${Math.round(ms % 60000 / 1000)} s`;
}

export const fullTime = (t) => (t ? full.format(new Date(t)) : "–");
export const dayTime = (t) => (t ? dayClock.format(new Date(t)) : "–");
export const day = (t) => (t ? dayOnly.format(new Date(t)) : "–");
export const minute = (t) => hourMinute.format(new Date(t));

/* Today: the clock; else day and clock. */
export function when(t) {
	if (!t)
		return "–";
	const d = new Date(t);
	return d.toDateString() === new Date().toDateString() ? clock.format(d) : dayClock.format(d);
}

/* "in 3 hours", "2 days ago" */
export function ago(t, now = Date.now()) {
	if (!t)
		return "never";
	const s = (new Date(t).getTime() - now) / 1000;
	for (const [unit, size] of [["year", 31557600], ["month", 2629800], ["day", 86400],
		["hour", 3600], ["minute", 60]])
		if (Math.abs(s) >= size)
			return relative.format(Math.trunc(s / size), unit);
	return Math.abs(s) < 5 ? "now" : relative.format(Math.trunc(s), "second");
}

export const list = (text) => text.split(/[\s,]+/).filter((s) => s !== "");

export function plural(n, one, many = `${one}s`) {
	return `${number(n)} ${n === 1 ? one : many}`;
}

/* What an error code of ours means for the person who runs the gateway. */
const advice = {
	missing_token: "The client sent no token.",
	invalid_token: "The client's token is not one of ours, or was mistyped.",
	token_expired: "Mint a new token for this client.",
	token_revoked: "Somebody revoked this token; Audit says who and when.",
	project_inactive: "Activate the project to let its tokens through again.",
	model_not_allowed: "Neither the token nor its project lists this model.",
	exceeds_limit: "This request alone is larger than a limit; it can never pass.",
	rate_limited: "A limit was full at that moment; see Limits.",
	budget_exceeded: "A budget is spent; see Limits for when it begins anew.",
	no_route: "No active upstream serves this model; see Upstreams.",
	no_key_available: "Every key that could serve it is disabled or resting; see Keys.",
	upstream_credentials: "The provider refused our key; see Keys.",
	upstream_unreachable: "The provider could not be reached.",
	upstream_timeout: "The provider took too long.",
	overloaded: "The gateway had more to do than it can; it refused before admission.",
	store_unavailable: "The store could not be used; see Health.",
	body_too_large: "The request was larger than the gateway takes."
};
export const adviceFor = (code) => advice[code] ?? "";
