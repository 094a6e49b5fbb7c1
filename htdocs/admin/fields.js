/* fields.js - a record's fields as a table: controls come out of it, and the body of a call. */
import { field, h, select } from "./dom.js";
import { list } from "./format.js";
import { plain as plainMoney } from "./money.js";

/*
 * Rows: [name, label, kind, hint, props].  kind: text (or none), number, money, tick, list (parted by
 * commas), lines (one a line), or [[value, text]…] to choose from.  A row that is a text begins a part
 * that is closed at first.
 */
function control(kind, value, props = {}) {
	const plain = { autocomplete: "off", spellcheck: "false" };
	switch (kind) {
	case "tick":
		return h("input", { type: "checkbox", checked: Boolean(value), ...props });
	case "number":
		return h("input", { type: "number", min: "0", step: "1", inputmode: "numeric", value: value ?? 0, ...props });
	case "lines":
		return h("textarea", { rows: "3", spellcheck: "false", value: (value ?? []).join("\n"), ...props });
	case "list":
		return h("input", { ...plain, value: (value ?? []).join(", "), ...props });
	case "money":
		return h("input", { ...plain, inputmode: "decimal", value: plainMoney(value ?? ""), ...props });
	default:
		return Array.isArray(kind) ? select(kind, value ?? kind[0][0], props)
			: h("input", { ...plain, value: value ?? "", ...props });
	}
}

function read(kind, c) {
	switch (kind) {
	case "tick":
		return c.checked;
	case "number":
		return Number(c.value);
	case "lines":
		return c.value.split("\n").map((s) => s.trim()).filter(Boolean);
	case "list":
		return list(c.value);
	case "money":
		return c.value.trim() || "0";
	default:
		return c.value.trim();
	}
}

const isShort = (kind) => ["number", "money"].includes(kind) || Array.isArray(kind);

/*
 * usual: what the gateway takes for a field that is not given; a closed part tells how many are not so.
 * layout: what goes into form(); el(name): a field; body(): all values; changed(): those that differ
 * from what they were at first.
 */
export function fieldsOf(table, given = {}, usual = {}) {
	const made = new Map(), layout = [], record = { ...usual, ...given };
	let into = layout, pair = null, told = null;
	for (const row of table) {
		if (typeof row === "string") {
			const count = h("span", { class: "dim" });
			const part = h("details", {}, h("summary", {}, row, count));
			let set = 0;
			told = () => { count.textContent = ` · ${++set} set`; };
			layout.push(part);
			into = { push: (el) => part.append(el) };
			pair = null;
			continue;
		}
		const [name, label, kind = "text", hint = kind === "list" ? "Parted by commas." : undefined, props] = row;
		const el = field(label, control(kind, record[name], props), { name, hint });
		made.set(name, [kind, el]);
		if (told && JSON.stringify(read(kind, el.control)) !== JSON.stringify(read(kind, control(kind, usual[name]))))
			told();
		if (!isShort(kind)) {
			into.push(el);
			pair = null;
		} else if (pair) {
			pair.append(el);
		} else {
			pair = h("div", { class: "pair" }, el);
			into.push(pair);
		}
	}
	const body = () => Object.fromEntries([...made].map(([name, [kind, el]]) => [name, read(kind, el.control)]));
	const before = body();
	return { layout, body, el: (name) => made.get(name)[1],
		changed: () => Object.fromEntries(Object.entries(body()).filter(([name, v]) =>
			JSON.stringify(v) !== JSON.stringify(before[name]))) };
}
