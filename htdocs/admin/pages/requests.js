/* requests.js - what came through: model, way, tokens, cost, and why it failed. */
import { api } from "../api.js";
import { badge, copyButton, dialog, facts, h, later } from "../dom.js";
import { adviceFor, fullTime, milliseconds, number, plural, short, when } from "../format.js";
import { pagedTable } from "../list.js";
import { usd } from "../money.js";
import { detail, dialogs, every, filters, page } from "../page.js";
import { chooser, nameOf } from "../pick.js";
import { href } from "../router.js";

const names = ["project_id", "token_id", "model", "status", "failed"];

function statusBadge(r) {
	const bad = r.status >= 400 || (r.ended_by && r.ended_by !== "done");
	return badge(r.status >= 500 ? "bad" : bad ? "warn" : "good", r.status ? String(r.status) : "none");
}

const why = (r) => r.error || r.code || (r.ended_by && r.ended_by !== "done" ? `ended by ${r.ended_by}` : "");
const inputOf = (t) => t.input + t.cache_read + t.cache_write;
const ended = { done: "the answer was complete", client: "the client left", timeout: "a timeout",
	provider: "the provider broke off", budget: "the budget was spent", crash: "a worker died",
	refused: "it was refused before it was sent on" };
const sources = { reported: "reported by the provider", counted: "counted here", estimated: "estimated",
	none: "not known" };

/* Read when it is opened. */
function explanation(id, signal) {
	const el = h("details", { ontoggle: () => {
		if (el.open && el.childElementCount === 1)
			el.append(later(signal, async () => {
				const content = await (await import("../explain.js")).explained(id, signal);
				requestAnimationFrame(() => el.scrollIntoView());
				return content;
			}));
	} }, h("summary", {}, "Why it went there"));
	return el;
}

function details(r, signal) {
	const t = r.tokens ?? {};
	const failed = why(r) !== "";
	return [
		failed && h("div", { class: "failure" }, h("p", {}, h("strong", {}, r.code || `ended by ${r.ended_by}`),
			r.error && `: ${r.error}`), adviceFor(r.code) && h("p", {}, adviceFor(r.code))),
		facts([
			["Status", statusBadge(r)], ["Time", fullTime(r.time)],
			["Ended because", ended[r.ended_by] ?? r.ended_by],
			["Endpoint", h("code", {}, r.endpoint)], ["Protocol", r.protocol],
			["Model asked for", r.model], ["Model sent on", r.upstream_model],
			["Upstream", r.upstream && nameOf("upstreams", r.upstream)],
			["Key", r.key_id && h("a", { href: href("keys", { id: r.key_id }) }, nameOf("keys", r.key_id))],
			["Attempts", r.attempts], ["Streamed", r.stream ? "yes" : "no"],
			["First byte after", r.ttfb_ms > 0 && milliseconds(r.ttfb_ms)],
			["Took", milliseconds(r.duration_ms)],
			["Input tokens", number(t.input)], ["read from cache", number(t.cache_read)],
			["written to cache", number(t.cache_write)],
			["Output tokens", `${number(t.output)}${t.reasoning > 0
				? `, of which ${number(t.reasoning)} reasoning` : ""}`],
			["Usage", sources[r.usage] ?? r.usage],
			["Cost", r.cost === null || r.cost === undefined ? "no price known" : `$${r.cost}`],
			["Project", r.project_id && h("a", { href: href("requests", { project_id: r.project_id }) },
				nameOf("projects", r.project_id))],
			["Token", r.token_id && h("a", { href: href("tokens", { id: r.token_id }) },
				nameOf("tokens", r.token_id))],
			["Session", r.session_id], ["End user", r.end_user],
			["Provider's request id", r.upstream_request_id && h("code", {}, r.upstream_request_id)]
		].map(([k, v]) => [k, v === false ? null : v])),
		h("div", { class: "secret" }, h("code", {}, r.id), copyButton(r.id, { what: "request id" })),
		explanation(r.id, signal)
	];
}

export function requestsPage(ctx) {
	const project = chooser("projects", ctx.params.project_id, "All projects");
	const model = h("input", { type: "search", placeholder: "any", size: "14", spellcheck: "false" });
	const status = h("input", { placeholder: "429, 4xx", size: "7", pattern: "[1-5](\\d\\d|xx)" });
	const token = h("input", { type: "search", placeholder: "any", size: "12", spellcheck: "false" });
	const failed = h("input", { type: "checkbox" });
	const live = h("input", { type: "checkbox" });
	let asked = JSON.stringify(names.map((n) => ctx.params[n]));
	const query = () => Object.fromEntries(names.map((n) => [n, ctx.now[n]]));
	const reload = () => {
		fresh = [];
		newer.hidden = true;
		return table.reload();
	};

	const table = pagedTable({
		signal: ctx.signal, caption: "Requests, newest first",
		load: (cursor, signal) => api.get("requests", { cursor, limit: 100, ...query() }, signal),
		empty: "No request matches.",
		columns: [
			{ head: "Time", cell: (r) => h("a", { href: detail(ctx, "requests", r.id),
				title: fullTime(r.time) }, when(r.time)) },
			{ head: "Model", cell: (r) => h("span", { title: r.model }, r.model || "–") },
			{ head: "Upstream", more: true, cell: (r) => nameOf("upstreams", r.upstream) },
			{ head: "Status", cell: statusBadge },
			{ head: "In", num: true, more: true, cell: (r) => h("span",
				{ title: `${number(r.tokens.cache_read)} from cache` }, short(inputOf(r.tokens))) },
			{ head: "Out", num: true, more: true, cell: (r) => short(r.tokens.output) },
			{ head: "Cost", num: true, cell: (r) => (r.cost === null || r.cost === undefined
				? h("span", { class: "dim" }, "no price") : h("span", { title: `$${r.cost}` }, usd(r.cost))) },
			{ head: "Took", num: true, cell: (r) => milliseconds(r.duration_ms) },
			{ head: "Why it failed", grow: true, cell: (r) => h("span", { title: why(r) }, why(r)) }
		]
	});

	/* The live tail: new rows come in at the top when it is in sight, else they wait behind a button. */
	let fresh = [];
	const newer = h("button", { type: "button", class: "newer", hidden: true, onclick: () => {
		table.prepend(fresh);
		fresh = [];
		newer.hidden = true;
		scrollTo(0, 0);
	} });
	every(ctx, 3000, async () => {
		const first = fresh[0] ?? table.rows()[0];
		if (!live.checked || !first)
			return;
		const before = JSON.stringify(query());
		const page = await api.get("requests", { limit: 100, ...query() }, ctx.signal).catch(() => null);
		if (!page || before !== JSON.stringify(query()) || (fresh[0] ?? table.rows()[0]) !== first)
			return;
		const known = page.data.findIndex((r) => r.id === first.id);
		if (known === 0)
			return;
		if (known < 0) {
			reload(); /* more came than one page holds */
			return;
		}
		fresh = page.data.slice(0, known).concat(fresh);
		if (table.getBoundingClientRect().top >= 0 && !table.matches(":focus-within")) {
			table.prepend(fresh);
			fresh = [];
		}
		newer.hidden = fresh.length === 0;
		newer.textContent = `↑ ${plural(fresh.length, "newer request")}`;
	});

	dialogs(ctx, {
		id: (id, onclose) => dialog("Request", () => later(ctx.signal, async () =>
			details(await api.one("requests", id, ctx.signal), ctx.signal)), { onclose, wide: true })
	});
	return page("Requests", null, filters(ctx, {
		project_id: ["Project", project], model: ["Model", model], status: ["Status", status],
		token_id: ["Token id", token], failed: ["Failed only", failed], live: ["Live", live]
	}, () => {
		/* `live` alone changes nothing that is shown */
		const now = JSON.stringify(names.map((n) => ctx.now[n]));
		if (now !== asked)
			reload();
		asked = now;
	}), newer, table);
}
