/* policies.js - rules over many routes: whom they bind, and what they decide. */
import { api } from "../api.js";
import { badge, confirm, dialog, failure, field, form, h, later, say, select } from "../dom.js";
import { fieldsOf } from "../fields.js";
import { milliseconds, plural } from "../format.js";
import { pagedTable } from "../list.js";
import { changesOf, dialogs, opener, page } from "../page.js";
import { choice, chooser, known } from "../pick.js";
import { usd } from "../money.js";
import { href } from "../router.js";
import { objectivesHint, strategies } from "../show.js";

const types = [["routing", "Who may be asked"], ["key_selection", "Which keys are used"],
	["cost_control", "What a request may cost"], ["failure_handling", "What happens after failures"]];
const scopes = [["global", "everything"], ["project", "one project"], ["upstream", "one upstream"],
	["key", "one key"], ["route", "one route"]];
const scopeField = { project: "project_id", upstream: "upstream", key: "key", route: "route" };
const scopeKind = { project: "projects", upstream: "upstreams", key: "keys", route: "routes" };

const choose = [["blocked_upstreams", "Upstreams not asked", "list"], ["allowed_upstreams", "Upstreams asked alone", "list"],
	["blocked_models", "Models not asked for", "list"], ["allowed_models", "Models asked for alone", "list"],
	["regions", "Regions", "list"], ["tenants", "Tenants", "list"],
	["required_tags", "Tags that must be there", "list", "name=value, * for any part"],
	["min_reliability", "Least share of calls that succeeded", "number", "Percent; 0: any."],
	["free_only", "Free models alone", "tick"]];
const order = [["strategy", "Who comes first", [["none", "as the route says"], ...strategies.filter(([s]) => s !== "split")]],
	["objectives", "Objectives", "list", objectivesHint]];
const parts = {
	routing: [...choose, ...order],
	key_selection: [["blocked_keys", "Keys not used", "list", "Ids, or patterns of labels."],
		["allowed_states", "States a key may be in", "list", "available, recovering; empty: both."], ...choose.slice(4), ...order],
	cost_control: [["free_only", "Free models alone", "tick"], ["max_cost", "Most that one request may cost", "money", "In dollars; 0: no limit."],
		["refuse_unpriced", "Ask nobody whose price is not known", "tick"]],
	failure_handling: [["tries", "Attempts at most", "number", "0: not set."],
		["deadline_ms", "No attempt begins later than, in ms", "number", "0: not set."],
		["failure_rules", "What failures mean", "lines", "One a line: status=529 -> next cool=60"]]
};

/* What is for a whole request goes by no upstream and no key. */
const whole = ["strategy", "objectives", "tries", "deadline_ms"];
const partOf = (type, scope) => parts[type].filter(([n]) => !whole.includes(n) || !["upstream", "key"].includes(scope));

const words = (table, value) => table.find(([v]) => v === value)?.[1] ?? value;

/* What it decides, in few words, for the list. */
const decides = (p) => parts[p.type]?.filter(([n]) => (Array.isArray(p[n]) ? p[n].length
	: n === "strategy" ? p[n] && p[n] !== "none" : Number(p[n] ?? 0) || p[n] === true))
	.map(([n, label, kind]) => `${label.toLowerCase()}${p[n] === true ? "" : `: ${kind === "money" ? usd(p[n])
		: [p[n]].flat().join(", ")}`}`).join("; ");

async function fields(p) {
	const scope = select(scopes, p.scope ?? "global"), type = select(types, p.type ?? "routing", { disabled: Boolean(p.id) });
	const whom = h("div"), what = h("div");
	let of = null, rest = null;
	async function showWhom() {
		const name = scope.value;
		of = null;
		whom.replaceChildren();
		if (name === "global")
			return;
		const records = await known(scopeKind[name]);
		if (scope.value !== name)
			return;
		of = choice(scopeKind[name], records, p[scopeField[name]] ?? (records.next ? "" : records.data[0]?.id));
		whom.replaceChildren(field(`Which ${name}`, of, { name: scopeField[name] }));
	}
	function showWhat() {
		rest = fieldsOf(partOf(type.value, scope.value), { ...p, ...rest?.body() });
		what.replaceChildren(...rest.layout);
	}
	scope.addEventListener("change", () => {
		showWhom();
		showWhat();
	});
	type.addEventListener("change", showWhat);
	await showWhom();
	showWhat();
	const name = field("Name", h("input", { required: true, maxlength: "63", autocomplete: "off", value: p.name ?? "",
		"data-first": true }), { name: "name" });
	const priority = field("Priority", h("input", { type: "number", min: "0", max: "1000", value: p.priority ?? 0 }),
		{ name: "priority", hint: "Of several of one scope the greatest counts; what forbids adds up." });
	return { layout: [name, h("div", { class: "pair" }, field("It decides", type, { name: "type" }),
		field("It binds", scope, { name: "scope" })), whom, what, priority],
	body: () => {
		const out = { name: name.control.value.trim(), scope: scope.value, priority: Number(priority.control.value),
			...rest.body() };
		if (!p.id)
			out.type = type.value;
		for (const [s, f] of Object.entries(scopeField))
			if (s === scope.value)
				out[f] = of?.value ?? null;
			else if (p.id)
				out[f] = null;
		return out;
	} };
}

/* One side of a trial: who would be asked, in order, and by which rules. */
const side = (title, s) => h("div", {}, h("h3", {}, title), s.route && h("p", { class: "hint" }, `Route ${s.route}`),
	s.refused ? h("p", {}, badge("bad", "Refused"), ` ${s.refused}`)
		: h("ol", {}, s.candidates.map((c) => h("li", {}, `${c.upstream}${c.key ? `, ${c.key_label || c.key.slice(0, 10)}` : ""}, `,
			h("code", {}, c.model), c.stage > 0 && " instead",
			c.failure_rules.map((r) => h("div", { class: "hint" }, h("code", {}, r)))))),
	s.tries && h("p", { class: "hint" }, `At most ${plural(s.tries, "attempt")}.`),
	s.deadline_ms && h("p", { class: "hint" }, `No attempt begins after ${milliseconds(s.deadline_ms)}.`),
	Object.entries(s.out).length > 0 && h("p", { class: "hint" }, `Kept out: ${Object.entries(s.out)
		.map(([why, n]) => `${plural(n, "key")} by ${why}`).join(", ")}.`));

/* What it would change for a request, as it stands in the form; nothing is kept. */
function trial(p, f) {
	const model = field("Model that is asked for", h("input", { autocomplete: "off", spellcheck: "false" }), { name: "model" });
	const project = field("By project", chooser("projects", "", "none"));
	const tokens = field("Input tokens", h("input", { type: "number", min: "0", value: "1000" }));
	const out = h("div", { role: "status" });
	const ask = async (event) => {
		event.preventDefault();
		out.replaceChildren(h("p", {}, "Trying…"));
		try {
			const policy = f.body();
			if (!policy.name)
				delete policy.name;
			const t = await api.create("policies/dry-run", { policy, policy_id: p.id, ask: { model: model.control.value.trim(),
				project: project.control.value || null, input_tokens: Number(tokens.control.value) } });
			out.replaceChildren(h("p", {}, h("strong", {}, t.same ? "It changes nothing for this request."
				: "It changes what becomes of this request.")),
			h("div", { class: "pair" }, side("Without it", t.without), side("With it", t.with)));
		} catch (err) {
			out.replaceChildren(failure(err));
		}
	};
	return h("details", {}, h("summary", {}, "Try it on a request"), h("form", { onsubmit: ask },
		h("div", { class: "pair" }, model, project, tokens),
		h("div", { class: "actions" }, h("button", { type: "submit" }, "What would change?")), out));
}

export function policiesPage(ctx) {
	const reload = () => table.reload();
	const table = pagedTable({
		signal: ctx.signal, caption: "Policies",
		load: (cursor, signal) => api.get("policies", { cursor, limit: 100 }, signal),
		empty: ["No policy yet. ", opener("Add one", { new: 1 })],
		rowClass: (p) => (p.is_active ? null : "off"),
		columns: [
			{ head: "Name", cell: (p) => h("a", { href: href("policies", { id: p.id }) }, p.name) },
			{ head: "State", more: true, cell: (p) => (p.is_active ? badge("good", "Active") : badge("off", "Inactive")) },
			{ head: "Binds", cell: (p) => (p.scope === "global" ? "everything" : `${p.scope} ${p.scope_name ?? ""}`) },
			{ head: "Decides", grow: true, cell: (p) => h("span", { title: words(types, p.type) }, decides(p) || "–") },
			{ head: "Priority", num: true, more: true, cell: (p) => String(p.priority ?? 0) }
		]
	});

	const adding = async (close) => {
		const f = await fields({});
		return [form({ fields: f.layout, label: "Add policy", cancel: close, submit: async () => {
			await api.create("policies", f.body());
			say("Policy added.");
			close();
			reload();
		} }), h("hr"), trial({}, f)];
	};

	async function details(id, close) {
		const p = await api.one("policies", id, ctx.signal);
		const f = await fields(p);
		return [form({ fields: f.layout, label: "Save", cancel: close, submit: async () => {
			await api.change("policies", p.id, f.body(), p.etag);
			say("Saved. The next request goes by it.");
			close();
			reload();
		} }), h("hr"), trial(p, f), h("hr"), h("div", { class: "actions" },
			h("button", { type: "button", onclick: async () => {
				await api.change("policies", p.id, { is_active: !p.is_active });
				close();
				reload();
			} }, p.is_active ? "Deactivate" : "Activate"),
			h("button", { type: "button", class: "danger", onclick: async () => {
				if (await confirm(`Delete ${p.name}?`, "It decides nothing any more.",
					{ yes: "Delete", action: () => api.remove("policies", p.id) })) {
					close();
					reload();
				}
			} }, "Delete…"), changesOf(p.id))];
	}

	dialogs(ctx, {
		new: (_, onclose) => dialog("Add a policy", (close) => later(ctx.signal, () => adding(close)), { onclose }),
		id: (id, onclose) => dialog("Policy", (close) => later(ctx.signal, () => details(id, close)), { onclose })
	});
	return page("Policies", opener("Add a policy", { new: 1 }), table);
}
