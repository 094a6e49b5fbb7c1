/*
 * list.js - a table that is loaded page by page (cursor) and, when it grows long, holds only the
 * rows in sight in the document: 10,000 rows scroll like 50.  Rows have one height, so their
 * places are known without drawing them.
 */
import { failure, h, loading } from "./dom.js";

const WHOLE = 150; /* up to here all rows stand in the document */
const MARGIN = 25; /* rows kept above and below what is in sight */
const PATIENCE = 10; /* pages without a row, from a narrow filter, before the reader is asked */

/*
 * columns: [{ head, cell(row), num, more, grow }]   num: right-aligned; more: left out on narrow
 * screens, "wide": shown on wide ones only; grow: takes the room that is left
 * load(cursor, signal) -> { data, next };  empty: what to show when there is nothing
 */
export function pagedTable({ signal, caption, columns, load, empty, rowClass }) {
	let rows = [], next = null, busy = false, loaded = false, turn = 0, rowHeight = 0, barren = 0;
	let front = new Set(); /* ids of rows put in front, that come again further down */
	const drawn = new Map(); /* index -> tr */
	const above = spacer(), below = spacer();
	const body = h("tbody", { role: "rowgroup" }, above, below);
	const look = (c) => [c.num && "num", c.more && "more", c.more === "wide" && "wide", c.grow && "grow"]
		.filter(Boolean).join(" ") || null;
	const heads = columns.map((c) => h("th", { scope: "col", role: "columnheader", class: look(c) },
		c.head));
	const table = h("table", { role: "table", class: "rows" },
		h("caption", { class: "sr" }, caption),
		h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), body);
	const count = h("p", { class: "dim", role: "status" });
	const more = h("button", { type: "button", onclick: () => { barren = 0; grow(); } }, "Load more");
	const wrap = h("div", { class: "tablewrap", hidden: true }, table);
	const foot = h("div", { class: "foot", hidden: true }, count, more);
	const notice = h("div", {}, loading(6));
	const el = h("div", { class: "list" }, notice, wrap, foot);

	function spacer() {
		return h("tr", { class: "spacer", "aria-hidden": "true" },
			h("td", { colspan: String(columns.length) }));
	}

	function draw(i) {
		const row = rows[i];
		return h("tr", { role: "row", "aria-rowindex": String(i + 2), class: rowClass?.(row) || null },
			columns.map((c) => h("td", { role: "cell", "data-label": c.head,
				class: look(c) }, c.cell(row))));
	}

	/* Widths must not jump while rows come and go. */
	function freeze(on) {
		if (on === table.classList.contains("frozen"))
			return;
		const widths = on && heads.map((th) => th.getBoundingClientRect().width);
		table.classList.toggle("frozen", on);
		heads.forEach((th, i) => { th.style.width = on ? `${widths[i]}px` : ""; });
	}

	function range() {
		if (rows.length <= WHOLE)
			return [0, rows.length];
		const one = drawn.values().next().value;
		const height = one?.getBoundingClientRect().height;
		if (height > 0)
			rowHeight = height;
		const top = body.getBoundingClientRect().top;
		const first = Math.floor(-top / (rowHeight || 40)) - MARGIN;
		const last = Math.ceil((innerHeight - top) / (rowHeight || 40)) + MARGIN;
		const n = rows.length;
		return [Math.min(Math.max(first, 0), n - 1), Math.min(Math.max(last, 1), n)];
	}

	function show() {
		const [first, last] = range();

		for (const [i, tr] of drawn)
			if (i < first || i >= last) {
				tr.remove();
				drawn.delete(i);
			}
		let after = above;
		for (let i = first; i < last; i++) {
			let tr = drawn.get(i);
			if (!tr) {
				tr = draw(i);
				drawn.set(i, tr);
				after.after(tr);
			}
			after = tr;
		}
		above.firstChild.style.height = `${first * rowHeight}px`;
		below.firstChild.style.height = `${(rows.length - last) * rowHeight}px`;
		above.hidden = first === 0;
		below.hidden = last === rows.length;
		freeze(rows.length > WHOLE && matchMedia("(min-width: 46em)").matches);
		if (next && !busy && barren < PATIENCE && last >= rows.length && nearEnd())
			grow();
	}

	const nearEnd = () => foot.getBoundingClientRect().top < innerHeight + 600;

	function settle() {
		table.setAttribute("aria-rowcount", next ? "-1" : String(rows.length + 1));
		wrap.hidden = rows.length === 0;
		foot.hidden = rows.length === 0 && !next;
		more.hidden = !next;
		count.textContent = `${rows.length.toLocaleString("en-US")} shown${next ? ", more below" : ""}`;
		notice.replaceChildren(...(rows.length === 0 && !next
			? [h("div", { class: "empty" }, empty ?? "Nothing here.")] : []));
	}

	function redraw() {
		drawn.forEach((tr) => tr.remove());
		drawn.clear();
		show();
	}

	async function grow(fresh = false) {
		const mine = fresh ? ++turn : turn;
		if (busy && !fresh)
			return;
		busy = true;
		more.disabled = true;
		more.textContent = "Loading…";
		try {
			const page = await load(fresh ? null : next, signal);
			if (mine !== turn || signal.aborted)
				return;
			if (fresh) {
				rows = [];
				front = new Set();
				freeze(false);
			}
			barren = page.data.length > 0 ? 0 : barren + 1;
			rows = rows.concat(page.data.filter((r) => !front.has(r.id)));
			next = page.next;
			loaded = true;
			settle();
			busy = false;
			if (fresh)
				redraw();
			else
				show();
		} catch (err) {
			if (mine === turn && !signal.aborted) {
				notice.replaceChildren(failure(err, () => reload()));
				if (!loaded || fresh)
					wrap.hidden = foot.hidden = true;
			}
		}
		if (mine === turn) {
			busy = false;
			more.disabled = false;
			more.textContent = "Load more";
		}
	}

	function reload() {
		if (!loaded)
			notice.replaceChildren(loading(6));
		return grow(true);
	}

	const things = (tr) => [...tr.querySelectorAll("a, button")];

	/* Arrow keys go from a row's first link or button to the next row's. */
	body.addEventListener("keydown", (event) => {
		const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		const tr = event.target.closest("tr");
		if (!step || !tr || event.target.matches("input, select"))
			return;
		const place = things(tr).indexOf(event.target);
		const to = drawn.get(Number(tr.getAttribute("aria-rowindex")) - 2 + step);
		if (to && place >= 0) {
			event.preventDefault();
			(things(to)[place] ?? things(to)[0])?.focus();
		}
	});

	let queued = false;
	function onScroll() {
		if (queued)
			return;
		queued = true;
		requestAnimationFrame(() => {
			queued = false;
			if (el.isConnected)
				show();
		});
	}
	addEventListener("scroll", onScroll, { passive: true, signal });
	addEventListener("resize", () => { freeze(false); onScroll(); }, { signal });

	el.reload = reload;
	el.rows = () => rows;
	/* Shows a row anew that was changed, where it stands; the focus stays at its place in it. */
	el.put = (row) => {
		const i = rows.findIndex((r) => r.id === row.id);
		const old = drawn.get(i);
		if (i >= 0)
			rows[i] = row;
		if (!old)
			return;
		const place = things(old).indexOf(document.activeElement);
		const tr = draw(i);
		old.replaceWith(tr);
		drawn.set(i, tr);
		things(tr)[place]?.focus();
	};
	/* Puts new rows in front: of the live tail, or just made. */
	el.prepend = (fresh) => {
		fresh.forEach((r) => front.add(r.id));
		rows = fresh.concat(rows);
		settle();
		redraw();
	};
	grow(true);
	return el;
}
