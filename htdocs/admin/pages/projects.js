/* projects.js - the tenants: make, rename, switch off and on. */
import { api } from "../api.js";
import { badge, confirm, dialog, field, form, h, later, say } from "../dom.js";
import { fullTime, list, number, when } from "../format.js";
import { pagedTable } from "../list.js";
import { dialogs, opener, page } from "../page.js";
import { forget } from "../pick.js";
import { href } from "../router.js";

const projectBadge = (p) => (p.is_active ? badge("good", "Active")
	: badge("off", "Inactive", `since ${fullTime(p.deactivated_at)}`));

export function projectsPage(ctx) {
	const reload = () => {
		forget("projects");
		return table.reload();
	};

	async function toggle(p) {
		const done = await confirm(p.is_active ? `Deactivate ${p.name}?` : `Activate ${p.name}?`,
			p.is_active ? "Every request with one of its tokens is refused from now on, until the " +
				"project is activated again. Requests under way go on."
				: "Its tokens work again, as far as they are neither revoked nor expired.",
			{ yes: p.is_active ? "Deactivate" : "Activate", danger: p.is_active,
				action: () => api.change("projects", p.id, { is_active: !p.is_active }) });
		if (done) {
			say(`${p.name} is ${p.is_active ? "inactive" : "active"} now.`);
			forget("projects");
			table.put(done);
		}
	}

	async function revokeAll(p) {
		let count;
		const done = await confirm(`Revoke all tokens of ${p.name}?`,
			"Every client of this project is locked out at once and needs a new token.",
			{ yes: "Revoke all", action: async () => {
				count = (await api.act("projects", p.id, "revoke-tokens")).revoked_count;
			} });
		if (done)
			say(`Revoked${count === undefined ? "" : ` ${number(count)} tokens`}.`);
	}

	const table = pagedTable({
		signal: ctx.signal, caption: "Projects",
		load: (cursor, signal) => api.get("projects", { cursor, limit: 100 }, signal),
		empty: ["No project yet. ", opener("Make the first one", { new: 1 })],
		columns: [
			{ head: "Name", cell: (p) => h("a", { href: href("projects", { id: p.id }) }, p.name) },
			{ head: "State", cell: projectBadge },
			{ head: "Models", more: true, cell: (p) => (p.allowed_models?.length > 0
				? p.allowed_models.join(", ") : "all") },
			{ head: "Made", more: true, cell: (p) => h("span", { title: fullTime(p.created_at) },
				when(p.created_at)) },
			{ head: "", cell: (p) => h("span", { class: "rowacts" },
				h("a", { href: href("tokens", { project_id: p.id }) }, "Tokens",
					h("span", { class: "sr" }, ` of ${p.name}`)),
				h("button", { type: "button", class: "small", onclick: () => toggle(p),
					"aria-label": `${p.is_active ? "Deactivate" : "Activate"} ${p.name}` },
				p.is_active ? "Deactivate" : "Activate")) }
		]
	});

	function fields(p = {}) {
		return [
			field("Name", h("input", { required: true, maxlength: "63", "data-first": true,
				autocomplete: "off", value: p.name ?? "" }), { name: "name" }),
			field("Models it may use", h("input", { autocomplete: "off", spellcheck: "false",
				value: (p.allowed_models ?? []).join(", ") }),
			{ name: "allowed_models", hint: "Patterns such as gpt-4o*, parted by commas; empty: all." }),
			field("Web origins that may call", h("input", { autocomplete: "off", spellcheck: "false",
				value: (p.allowed_origins ?? []).join(", ") }), { name: "allowed_origins",
				hint: "For calls from a browser; empty: those of the settings." }),
			field("Paths it may call", h("input", { autocomplete: "off", spellcheck: "false",
				value: (p.allowed_endpoints ?? []).join(", ") }), { name: "allowed_endpoints",
				hint: "Patterns such as /v1/chat/*; empty: all." }),
			field("Client networks", h("input", { autocomplete: "off", spellcheck: "false",
				value: (p.allowed_networks ?? []).join(", ") }), { name: "allowed_networks",
				hint: "Addresses and networks such as 10.0.0.0/8; empty: all." })
		];
	}

	const body = ([name, ...lists]) => ({ name: name.control.value.trim(),
		...Object.fromEntries(lists.map((f) => [f.control.name, list(f.control.value)])) });

	dialogs(ctx, {
		new: (_, onclose) => dialog("New project", (close) => {
			const all = fields();
			return form({ fields: all, label: "Make project", cancel: close, submit: async () => {
				const p = body(all);
				for (const [k, v] of Object.entries(p))
					if (v.length === 0)
						delete p[k];
				await api.create("projects", p);
				say(`Project ${p.name} made.`);
				close();
				reload();
			} });
		}, { onclose }),
		id: (id, onclose) => dialog("Project", (close) => later(ctx.signal, async () => {
			const p = await api.one("projects", id, ctx.signal);
			const all = fields(p);
			return [h("p", {}, projectBadge(p), h("span", { class: "dim" }, ` made ${fullTime(p.created_at)} · `,
				h("code", {}, p.id))),
			form({ fields: all, label: "Save", cancel: close, submit: async () => {
				await api.change("projects", p.id, body(all), p.etag);
				say("Saved.");
				close();
				reload();
			} }),
			h("hr"),
			h("div", { class: "actions" },
				h("a", { class: "button", href: href("requests", { project_id: p.id }) }, "Requests"),
				h("a", { class: "button", href: href("limits", { project_id: p.id }) }, "Limits"),
				h("button", { type: "button", onclick: () => { close(); toggle(p); } },
					p.is_active ? "Deactivate…" : "Activate…"),
				h("button", { type: "button", class: "danger", onclick: () => revokeAll(p) },
					"Revoke all tokens…"))];
		}), { onclose })
	});

	return page("Projects", opener("New project", { new: 1 }), table);
}
