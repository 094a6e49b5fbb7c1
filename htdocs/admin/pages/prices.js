/* prices.js - dollars a million tokens, by model; the latest that holds counts. */
import { api } from "../api.js";
import { confirm, dialog, field, form, h, later, say } from "../dom.js";
import { fullTime, day } from "../format.js";
import { pagedTable } from "../list.js";
import { nano, plain } from "../money.js";
import { detail, dialogs, filters, opener, page } from "../page.js";
import { choice, known, nameOf } from "../pick.js";

const stated = (v) => v !== null && v !== undefined && (nano(v) ?? -1n) >= 0n;
const rate = (v) => (stated(v) ? `$${plain(v)}` : h("span", { class: "dim" }, "–"));
/* What tells the rows of one model apart. */
const kindOf = (p) => (p.tier ? `, ${p.tier}` : "") + (p.above_tokens ? `, above ${p.above_tokens} tokens in` : "");
const rates = [["input", "Input"], ["output", "Output"], ["cache_read", "Read from cache"],
	["cache_write_5m", "Written to cache, 5 min"], ["cache_write_1h", "Written to cache, 1 hour"]];

export function pricesPage(ctx) {
	const model = h("input", { type: "search", placeholder: "any", spellcheck: "false" });
	const reload = () => table.reload();

	async function remove(p) {
		const done = await confirm(`Delete the price of ${p.model}?`,
			"Requests to come are booked without it. What is booked stays as it is.",
			{ yes: "Delete", action: () => api.remove("prices", p.id) });
		if (done) {
			say("Price deleted.");
			reload();
		}
	}

	const table = pagedTable({
		signal: ctx.signal, caption: "Prices in dollars a million tokens",
		load: (cursor, signal) => api.get("prices", { cursor, limit: 200, model: ctx.now.model }, signal),
		empty: ["No price here. ", opener("Add one", { new: 1 })],
		columns: [
			{ head: "Model", cell: (p) => [h("a", { href: detail(ctx, "prices", p.id) }, p.model),
				h("span", { class: "dim" }, kindOf(p))] },
			{ head: "Upstream", more: true, cell: (p) => (p.upstream ? nameOf("upstreams", p.upstream) : "any") },
			{ head: "Input", num: true, cell: (p) => rate(p.input) },
			{ head: "Output", num: true, cell: (p) => rate(p.output) },
			{ head: "Cache read", num: true, more: true, cell: (p) => rate(p.cache_read) },
			{ head: "Cache write", num: true, more: true, cell: (p) => rate(p.cache_write_5m) },
			{ head: "A request", num: true, more: true, cell: (p) => rate(p.request) },
			{ head: "From", cell: (p) => (p.from ? h("span", { title: fullTime(p.from) }, day(p.from)) : "always") },
			{ head: "Origin", more: true, cell: (p) => (p.is_builtin ? "came with sluice" : p.is_imported ? "imported" : "added here") },
			{ head: "", cell: (p) => h("button", { type: "button", class: "small", onclick: () => remove(p),
				"aria-label": `Delete the price of ${p.model}` }, "Delete") }
		]
	});

	const money = (v, required) => h("input", { inputmode: "decimal", autocomplete: "off", required,
		pattern: "\\d+(\\.\\d{1,9})?", value: stated(v) ? plain(v) : "" });

	async function editor(p, close) {
		const ups = await known("upstreams");
		const name = field("Model", h("input", { required: true, "data-first": true, autocomplete: "off",
			spellcheck: "false", value: p.model ?? "" }), { name: "model",
			hint: "The provider's name for it, or a pattern such as gpt-4o-2024*." });
		const up = field("At upstream", choice("upstreams", ups, p.upstream ?? "", [["", "any"]]),
			{ name: "upstream" });
		const from = field("Holds from", h("input", { type: "date", value: p.from?.slice(0, 10) ?? "" }),
			{ name: "from", hint: "Empty: always." });
		const each = rates.map(([n, t]) => field(t, money(p[n], n === "input" || n === "output"), { name: n }));
		const request = field("A request, in dollars", money(p.request), { name: "request" });
		return form({ fields: [name, h("div", { class: "pair" }, up, from),
			h("fieldset", {}, h("legend", {}, "Dollars a million tokens"), h("div", { class: "pair" }, each)),
			request],
		label: p.id ? "Save" : "Add price", cancel: close, submit: async () => {
			const body = { model: name.control.value.trim() };
			const set = (n, v, old) => {
				if (v !== "" || (p.id && old))
					body[n] = v === "" ? null : v;
			};
			set("upstream", up.control.value, p.upstream);
			set("from", from.control.value && `${from.control.value}T00:00:00.000Z`, p.from);
			rates.forEach(([n], i) => set(n, each[i].control.value.trim(), stated(p[n])));
			set("request", request.control.value.trim(), stated(p.request));
			if (p.id)
				await api.change("prices", p.id, body, p.etag);
			else
				await api.create("prices", body);
			say("Saved.");
			close();
			reload();
		} });
	}

	dialogs(ctx, {
		new: (_, onclose) => dialog("Add a price", (close) => later(ctx.signal, () => editor({}, close)),
			{ onclose }),
		id: (id, onclose) => dialog("Price", (close) => later(ctx.signal, async () =>
			editor(await api.one("prices", id, ctx.signal), close)), { onclose })
	});
	return page("Prices", opener("Add a price", { new: 1 }),
		filters(ctx, { model: ["Prices of model", model] }, reload), table);
}
