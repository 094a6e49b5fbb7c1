/* pick.js - names instead of ids, and controls to choose a record by its name. */
import { api } from "./api.js";
import { h, select, uid } from "./dom.js";

const MOST = 200; /* beyond it a list to choose from becomes a text field with proposals */
const lists = new Map(), singles = new Map();

const title = (r) => r.name || r.label || r.masked || r.id;

/* { data, next } of the first records of a kind; remembered until forget(). */
export function known(kind) {
	if (!lists.has(kind)) {
		const promise = api.get(kind, { limit: MOST });
		promise.catch(() => lists.delete(kind));
		lists.set(kind, promise);
	}
	return lists.get(kind);
}

export function forget(kind) {
	lists.delete(kind);
	for (const key of singles.keys())
		if (key.startsWith(`${kind}/`))
			singles.delete(key);
}

async function find(kind, id) {
	const listed = kind === "tokens" ? null : (await known(kind)).data.find((r) => r.id === id);
	if (listed)
		return title(listed);
	const key = `${kind}/${id}`;
	if (!singles.has(key))
		singles.set(key, api.one(kind, id).then(title, () => id));
	return singles.get(key);
}

/* The name of a record, as a text that fills itself in.  What is no id is a name already. */
export function nameOf(kind, id) {
	if (!id)
		return "–";
	if (!/^(prj|up|key|tok|rt)_/.test(id))
		return id;
	const el = h("span", { title: id }, `${id.slice(0, 10)}…`);
	find(kind, id).then((name) => { el.textContent = name; }, () => {});
	return el;
}

/* list is what known() resolved to; first: [[value, text]…] before the records. */
export function choice(kind, list, value, first = []) {
	if (!list.next)
		return select([...first, ...list.data.map((r) => [r.id, title(r)])], value ?? first[0]?.[0]);
	const id = uid("list");
	const input = h("input", { list: id, autocomplete: "off", placeholder: first[0]?.[1] ?? "name or id",
		value: value ?? "" });
	/* what has no name of its own goes by its id */
	input.proposals = h("datalist", { id }, list.data.map((r) => (r.name ? h("option", { value: r.name })
		: h("option", { value: r.id }, title(r)))));
	return input;
}

/* A filter that fills itself in: select now, its options when they are there. */
export function chooser(kind, value, none) {
	const el = h("select", {}, h("option", { value: "" }, none));
	const add = (v, text) => el.append(h("option", { value: v }, text));
	if (value) {
		add(value, value);
		el.value = value;
	}
	known(kind).then(({ data }) => {
		const now = el.value;
		el.replaceChildren(h("option", { value: "" }, none));
		data.forEach((r) => add(r.id, title(r)));
		if (now && !data.some((r) => r.id === now))
			add(now, now);
		el.value = now;
	}, () => {});
	return el;
}
