/* explain.js - why a request went where it went: its decision, every attempt, and why each other one was not asked. */
import { api } from "./api.js";
import { badge, copyButton, facts, h } from "./dom.js";
import { fullTime, milliseconds, plural } from "./format.js";
import { href } from "./router.js";

const affinities = { new: "its session was new", kept: "its session stayed where it was",
	moved: "its session moved to a better place", away: "its session had to leave, as its key could not be asked" };
const kinds = { chosen: "good", next: "off", rests: "warn", probed: "warn", forecast: "warn", full: "warn", limit: "warn",
	invalid: "bad", breaker: "bad" };
const stages = { error: "an error", context: "a context too long", filter: "a content filter", price: "the price" };

function who(c) {
	return [c.upstream ?? "somebody of whom no more is kept", c.key_id && [", ",
		h("a", { href: href("keys", { id: c.key_id }) }, c.key)],
	c.stage > 0 && `, fallback ${c.stage} (on ${stages[c.stage_on] ?? c.stage_on})`];
}

/* "share of turns 33 %, cost 0.82" */
function terms(c) {
	const said = Object.entries(c.terms).map(([name, value]) => `${name} ${value.toFixed(2)}`);
	return [c.share > 0 && `share of turns ${Math.round(c.share * 100)} %`, ...said].filter(Boolean).join(", ");
}

function attempt(a) {
	return h("li", {}, who(a), " ", badge(a.failure ? "bad" : "good", a.status || "no answer"),
		h("p", {}, `began after ${milliseconds(a.began_ms)}, took ${milliseconds(a.took_ms)}`,
			a.failure && `: ${a.failure.replaceAll("_", " ")}`, a.probe && "; it was a probe of one that had rested"));
}

function candidate(c) {
	const reasons = [c.until && `until ${fullTime(c.until)}`, terms(c)].filter(Boolean).join("; ");
	return h("li", {}, who(c), " ", badge(kinds[c.reason] ?? "off", c.says),
		reasons && h("p", {}, reasons));
}

function counted(why) {
	const out = Object.entries(why.counts).map(([reason, n]) => `${n} ${reason}`);
	return [`${plural(why.considered, "key")} looked at`, ...out,
		why.not_told > 0 && `${why.not_told} more of whom nothing is kept`].filter(Boolean).join(", ");
}

function decision(why) {
	return facts([
		["Route", why.route_id ? h("a", { href: href("routes", { id: why.route_id }) }, why.route)
			: "none: all upstreams that serve the model"],
		["Strategy", why.strategy], ["Session", affinities[why.affinity]],
		["Policies", why.policies.map((p) => p.policy).join(", ")],
		["Waited for its turn", why.queued_ms > 0 && milliseconds(why.queued_ms)],
		["Request rules", why.rules.map((r) => r.rule ?? `rule ${r.number}`).join("; ")],
		["Left out by conversion", why.request.dropped], ["Candidates", counted(why)]
	].map(([k, v]) => [k, v === false ? null : v]));
}

export async function explained(id, signal) {
	const why = await api.get(`requests/${encodeURIComponent(id)}/explain`, null, signal);
	if (!why.has_record)
		return [h("p", { class: "dim" }, "No decision is kept: it was refused before anybody was looked for, or it is "
			+ "older than decisions are.")];
	return [decision(why),
		why.attempts.length > 0 && [h("h3", {}, "Attempts"), h("ol", { class: "feed" }, why.attempts.map(attempt))],
		why.candidates.length > 0 && [h("h3", {}, "Candidates"), h("ul", { class: "feed" }, why.candidates.map(candidate))],
		copyButton(why.text, { label: "Copy as text", what: "the explanation" })].flat(2);
}
