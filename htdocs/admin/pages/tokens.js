/* tokens.js - our secrets for clients: mint (shown once), look, change, rotate, revoke. */
import { api } from "../api.js";
import { badge, confirm, copyButton, dialog, facts, failure, field, form, h, later, say, select }
	from "../dom.js";
import { ago, fullTime, list, number, when } from "../format.js";
import { pagedTable } from "../list.js";
import { nano, usd } from "../money.js";
import { detail, dialogs, filters, opener, page } from "../page.js";
import { choice, chooser, known, nameOf } from "../pick.js";
import { href } from "../router.js";
import { limitList } from "../show.js";
import { snippets } from "../snippets.js";

const expiries = [["15", "15 minutes"], ["60", "1 hour"], ["1440", "1 day"], ["10080", "7 days"],
	["43200", "30 days"], ["129600", "90 days"], ["525600", "1 year"], ["", "never"], ["at", "at…"]];

function tokenBadge(t) {
	const now = Date.now();
	if (t.revoked_at || !t.is_active)
		return badge("off", "Revoked", t.revoked_reason || undefined);
	if (t.expires_at && Date.parse(t.expires_at) <= now)
		return badge("off", "Expired", fullTime(t.expires_at));
	if (t.max_requests > 0 && t.request_count >= t.max_requests)
		return badge("bad", "Used up");
	if (t.not_before && Date.parse(t.not_before) > now)
		return badge("warn", "Not yet", `from ${fullTime(t.not_before)}`);
	return badge("good", "Active");
}

const title = (t) => t.label || t.masked;
const usesOf = (t) => (t.max_requests > 0 ? `${number(t.request_count)} of ${number(t.max_requests)}`
	: number(t.request_count));

/* "" is fine; whole numbers from 1 */
const count = (props) => h("input", { type: "number", min: "1", step: "1", inputmode: "numeric",
	placeholder: "no limit", ...props });

const localTime = (t) => (t ? new Date(Date.parse(t) - new Date(t).getTimezoneOffset() * 60000)
	.toISOString().slice(0, 16) : "");

/* What to put into the examples: a model the token may use, else one that was used before. */
async function exampleModel(allowed = []) {
	const plain = allowed.find((m) => !/[*?[]/.test(m));
	if (plain)
		return plain;
	try {
		const { data } = await api.get("requests", { limit: 20 });
		return data.find((r) => r.status === 200 && r.model)?.model ?? "gpt-4o-mini";
	} catch {
		return "gpt-4o-mini";
	}
}

/* Makes the limits one after the other; returns those that failed, with why. */
async function makeLimits(token, wanted) {
	const failed = [];
	for (const limit of wanted)
		try {
			await api.create("limits", { scope: { token }, mode: "hard", ...limit });
		} catch (err) {
			failed.push({ limit, err });
		}
	return failed;
}

/* What narrows a token, a line for each entry: field, label, an example. */
const narrowing = [["allowed_endpoints", "Paths", "/v1/chat/*"], ["allowed_methods", "Methods", "POST"],
	["allowed_networks", "Client networks", "10.0.0.0/8"],
	["allowed_origins", "Web origins", "https://app.example.com"],
	["allowed_params", "Parameters", "temperature=0*"],
	["required_headers", "Headers to repeat", "X-PROXY-USER-ID: 12"], ["metadata", "Notes", "team=blue"]];
const lines = (text) => text.split("\n").map((s) => s.trim()).filter((s) => s !== "");
const narrowFields = (t) => narrowing.map(([name, label, example]) => field(label,
	h("textarea", { rows: "2", spellcheck: "false", placeholder: example,
		value: (t[name] ?? []).join("\n") }), { name }));

const graces = [["0", "at once"], ["60", "in 1 hour"], ["1440", "in 1 day"], ["10080", "in 7 days"]];

const limitText = (l) => ({ requests: `${l.cap} requests a minute`, parallel: `${l.cap} in parallel`,
	cost: `$${l.cap} a ${l.window}` })[l.metric];

function showOnce(made, model, failed) {
	let stored = false, warned = false;
	const keep = () => { stored = true; };
	const status = h("p", { role: "alert", class: "wrong" });
	const trouble = h("div");
	const retry = async (list) => {
		const left = await makeLimits(made.id, list.map((f) => f.limit));
		trouble.replaceChildren(left.length > 0 ? tell(left) : h("p", { role: "status" },
			"All limits are set now."));
	};
	const tell = (list) => h("div", {}, h("p", {}, h("strong", {}, "The token works, but without: "),
		list.map((f) => limitText(f.limit)).join(", "), "."), failure(list[0].err, () => retry(list)));
	if (failed.length > 0)
		trouble.append(tell(failed));
	dialog("Your new token", (close) => [
		h("p", {}, "Copy it now: it is shown this once, and only its hash is kept."),
		trouble,
		h("div", { class: "secret" }, h("code", { tabindex: "0", id: "new-token" }, made.token),
			copyButton(made.token, { what: "token", oncopy: keep })),
		snippets(made.token, model, keep),
		status,
		h("div", { class: "actions" }, h("button", { type: "button", class: "primary",
			onclick: () => close() }, "I have stored it"))
	], { wide: true, may: () => {
		if (stored || warned)
			return true;
		warned = true;
		status.textContent = "It was not copied yet, and cannot be shown again. Close once more to leave.";
		return false;
	} });
}

function mintForm(ctx, projects, close, added) {
	if (projects.data.length === 0)
		return h("div", {}, h("p", {}, "A token belongs to a project, and there is none yet."),
			h("a", { class: "button primary", href: href("projects", { new: 1 }) }, "Make a project"));
	const until = field("Until", h("input", { type: "datetime-local", required: true, disabled: true }),
		{ name: "expires_at" });
	until.hidden = true;
	const expiry = select(expiries, "43200", { onchange: () => {
		until.hidden = expiry.value !== "at";
		until.control.disabled = until.hidden;
	} });
	const f = {
		project: field("Project", choice("projects", projects, ctx.now.project_id ||
			projects.data.find((p) => p.is_active)?.id), { name: "project_id" }),
		label: field("Label", h("input", { maxlength: "63", "data-first": true, autocomplete: "off",
			placeholder: "what it is for" }), { name: "label" }),
		expiry: field("Valid for", expiry, { name: "duration_minutes" }),
		until,
		max: field("Requests in its life", count(), { name: "max_requests" }),
		rate: field("Requests a minute", count()),
		parallel: field("At once", count()),
		budget: field("Budget in dollars", h("input", { inputmode: "decimal", autocomplete: "off",
			placeholder: "no limit", pattern: "\\d+(\\.\\d{1,9})?" })),
		window: field("Budget for each", select([["day", "day"], ["week", "week"], ["month", "month"],
			["total", "lifetime"]], "month")),
		models: field("Models", h("input", { autocomplete: "off", spellcheck: "false",
			placeholder: "all of the project's" }), { name: "allowed_models",
			hint: "Patterns parted by commas, such as gpt-4o*." })
	};
	const value = (name) => f[name].control.value.trim();
	return form({
		fields: [f.project, f.label, h("div", { class: "pair" }, f.expiry, f.until, f.models),
			h("fieldset", {}, h("legend", {}, "Limits"),
				h("div", { class: "pair" }, f.max, f.rate, f.parallel, f.budget, f.window))],
		label: "Mint token", cancel: close,
		submit: async () => {
			const body = { project_id: value("project") };
			const limits = [];
			if (value("label"))
				body.label = value("label");
			if (expiry.value === "at")
				body.expires_at = new Date(value("until")).toISOString();
			else if (expiry.value)
				body.duration_minutes = Number(expiry.value);
			if (value("max"))
				body.max_requests = Number(value("max"));
			if (value("models"))
				body.allowed_models = list(value("models"));
			if (value("rate"))
				limits.push({ metric: "requests", window: "minute", cap: Number(value("rate")) });
			if (value("parallel"))
				limits.push({ metric: "parallel", window: "total", cap: Number(value("parallel")) });
			if (nano(value("budget")))
				limits.push({ metric: "cost", window: value("window"), cap: value("budget") });
			const made = await api.create("tokens", body);
			const [failed, model] = await Promise.all([makeLimits(made.id, limits),
				exampleModel(body.allowed_models)]);
			close();
			say("Token minted.");
			added(made);
			showOnce(made, model, failed);
		}
	});
}

export function tokensPage(ctx) {
	const project = chooser("projects", ctx.params.project_id, "All projects");
	const active = select([["", "Any state"], ["true", "Not revoked"], ["false", "Revoked"]],
		ctx.params.is_active ?? "");
	const search = h("input", { type: "search", maxlength: "63", value: ctx.params.q ?? "",
		placeholder: "label, secret's ends, id" });
	const reload = () => table.reload();

	/* The list is in order of age; the new one is shown on top of it.  Its secret stays out. */
	const added = ({ token, ...t }) => table.prepend([t]);

	async function revoke(t) {
		const done = await confirm(`Revoke ${title(t)}?`,
			"The very next request with it is refused. Requests under way go on.",
			{ yes: "Revoke", reason: "Reason, for the audit",
				action: (reason) => api.act("tokens", t.id, "revoke", reason ? { reason } : {}) });
		if (done) {
			say("Token revoked.");
			table.put(done);
		}
	}

	async function reactivate(t) {
		const done = await confirm(`Reactivate ${title(t)}?`, "The same secret works again.",
			{ yes: "Reactivate", danger: false,
				action: () => api.change("tokens", t.id, { is_active: true }) });
		if (done) {
			say("Token reactivated.");
			table.put(done);
		}
	}

	/* Another secret for the same token: its limits, rows and id stay. */
	function rotate(t) {
		dialog(`New secret for ${title(t)}`, (close) => {
			const grace = field("The old secret ends", select(graces, "1440", { "data-first": true }),
				{ name: "grace_minutes", hint: "Both work until then." });
			return form({ fields: [grace], label: "Make a new secret", cancel: close, submit: async () => {
				const { token, ...now } = await api.act("tokens", t.id, "rotate",
					{ grace_minutes: Number(grace.control.value) });
				const model = await exampleModel(now.allowed_models);
				close();
				table.put(now);
				showOnce({ ...now, token }, model, []);
			} });
		});
	}

	const table = pagedTable({
		signal: ctx.signal, caption: "Tokens",
		load: (cursor, signal) => api.get("tokens", { cursor, limit: 100,
			project_id: ctx.now.project_id, is_active: ctx.now.is_active, q: ctx.now.q }, signal),
		empty: ["No token here. ", opener("Mint one", { new: 1 })],
		rowClass: (t) => (t.is_active && !t.revoked_at ? null : "off"),
		columns: [
			{ head: "Label", cell: (t) => h("a", { href: detail(ctx, "tokens", t.id) },
				t.label || "(no label)") },
			{ head: "Token", more: "wide", cell: (t) => h("code", {}, t.masked) },
			{ head: "Project", cell: (t) => nameOf("projects", t.project_id) },
			{ head: "State", cell: tokenBadge },
			{ head: "Requests", num: true, cell: usesOf },
			{ head: "Cost", num: true, cell: (t) => h("span", { title: t.cost && `$${t.cost}` },
				usd(t.cost)) },
			{ head: "Last used", more: "wide", cell: (t) => h("span", { title: fullTime(t.last_used_at) },
				ago(t.last_used_at)) },
			{ head: "Expires", more: true, cell: (t) => (t.expires_at
				? h("span", { title: fullTime(t.expires_at) }, ago(t.expires_at)) : "never") },
			{ head: "", cell: (t) => (t.is_active && !t.revoked_at
				? h("button", { type: "button", class: "small", onclick: () => revoke(t),
					"aria-label": `Revoke ${title(t)}` }, "Revoke")
				: h("button", { type: "button", class: "small", onclick: () => reactivate(t),
					"aria-label": `Reactivate ${title(t)}` }, "Reactivate")) }
		]
	});

	async function details(id, close) {
		const t = await api.one("tokens", id, ctx.signal);
		const revoked = t.revoked_at || !t.is_active;
		const label = field("Label", h("input", { maxlength: "63", value: t.label ?? "",
			autocomplete: "off" }), { name: "label" });
		const until = field("Expires", h("input", { type: "datetime-local",
			value: localTime(t.expires_at) }), { name: "expires_at", hint: "Empty: never." });
		const max = field("Requests in its life", count({ value: t.max_requests || "" }),
			{ name: "max_requests" });
		const models = field("Models", h("input", { autocomplete: "off", spellcheck: "false",
			value: (t.allowed_models ?? []).join(", ") }), { name: "allowed_models" });
		const narrow = narrowFields(t);
		return [
			facts([
				["State", tokenBadge(t)],
				["Why revoked", t.revoked_reason], ["Revoked", t.revoked_at && fullTime(t.revoked_at)],
				["Token", h("code", {}, t.masked)], ["Id", h("code", {}, t.id)],
				["Project", nameOf("projects", t.project_id)],
				["Requests", usesOf(t)], ["Cost", usd(t.cost)],
				["Old secret until", t.old_secret_until && Date.parse(t.old_secret_until) > Date.now() &&
					fullTime(t.old_secret_until)],
				["Last used", t.last_used_at ? when(t.last_used_at) : "never"],
				["Expires", t.expires_at ? fullTime(t.expires_at) : "never"],
				["Minted", fullTime(t.created_at)]
			]),
			h("h3", {}, "Limits"),
			later(ctx.signal, async () => limitList((await api.get("limits",
				{ token_id: t.id, limit: 50 }, ctx.signal)).data), 1),
			h("div", { class: "actions" },
				h("a", { class: "button", href: href("limits", { token_id: t.id, new: 1 }) }, "Add a limit"),
				h("a", { class: "button", href: href("requests", { token_id: t.id }) }, "Its requests")),
			h("details", {}, h("summary", {}, "Change"), form({
				fields: [label, until, max, models, h("fieldset", {}, h("legend", {}, "Only for"),
					h("p", { class: "hint" }, "A line each; empty: whatever the project allows."),
					h("div", { class: "pair" }, narrow))], label: "Save", submit: async () => {
					table.put(await api.change("tokens", t.id, {
						label: label.control.value.trim(),
						expires_at: until.control.value ? new Date(until.control.value).toISOString() : null,
						max_requests: Number(max.control.value) || 0,
						allowed_models: list(models.control.value),
						...Object.fromEntries(narrow.map((f) => [f.control.name, lines(f.control.value)]))
					}, t.etag));
					say("Saved.");
					close();
				}
			})),
			h("details", {}, h("summary", {}, "Examples for clients"),
				snippets("sk-sl-…", await exampleModel(t.allowed_models))),
			h("hr"),
			h("div", { class: "actions" }, revoked
				? h("button", { type: "button", onclick: () => { close(); reactivate(t); } }, "Reactivate…")
				: [h("button", { type: "button", onclick: () => { close(); rotate(t); } }, "New secret…"),
					h("button", { type: "button", class: "danger",
						onclick: () => { close(); revoke(t); } }, "Revoke…")])
		];
	}

	dialogs(ctx, {
		new: (_, onclose) => dialog("Mint a token", (close) => later(ctx.signal, async () =>
			mintForm(ctx, await known("projects"), close, added)), { onclose, wide: true }),
		import: (_, onclose) => dialog("Import tokens", (close) => later(ctx.signal, async () =>
			(await import("../import.js")).importForm(close, reload)), { onclose, wide: true }),
		id: (id, onclose) => dialog("Token", (close) => later(ctx.signal, () => details(id, close)),
			{ onclose, wide: true })
	});

	return page("Tokens", [opener("Mint a token", { new: 1 }), opener("Import…", { import: 1 }, {})],
		filters(ctx, { project_id: ["Project", project], is_active: ["State", active],
			q: ["Search", search] }, reload), table);
}
