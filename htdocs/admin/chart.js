/*
 * chart.js - stacked bars as inline SVG, built by DOM.
 *
 * One bar for each step, one part for each series.  Pointer, finger and arrow keys choose a bar;
 * its values stand in the legend and are read out (the drawing is a slider to assistive
 * technology, whose value text is the bar).  A table of the same numbers is one click away.
 */
import { h, svg, uid } from "./dom.js";

const HEIGHT = 200, LEFT = 52, RIGHT = 6, TOP = 10, BOTTOM = 24;

/* 1, 2 or 5 times a power of ten: at most 4 lines up to max. */
function niceStep(max) {
	const raw = max / 4;
	const power = 10 ** Math.floor(Math.log10(raw));
	const step = [1, 2, 5, 10].find((m) => m * power >= raw) * power;
	return step;
}

/*
 * data: { times: [Date…], series: [{ name, values: [Number…] }], label(time), axis(time), show(n),
 * tick(n): shorter, for the scale,
 * whole: only whole numbers, what: "Cost by model" }
 */
export function chart(data) {
	const { times, series, label, axis, show, tick = show, what } = data;
	const totals = times.map((_, i) => series.reduce((t, s) => t + s.values[i], 0));
	const max = Math.max(...totals, 0);
	const step = max > 0 ? Math.max(niceStep(max), data.whole ? 1 : 0) : 1;
	const top = max > 0 ? Math.ceil(max / step - 1e-9) * step : 1;
	const box = h("div", { class: "plot" });
	const legend = h("ul", { class: "legend" });
	const at = h("p", { class: "at" });
	let active = -1;
	let drawing = null;

	const valueText = (i) => `${label(times[i])}: ${show(totals[i])}` + series.filter((s) =>
		s.values[i] > 0).map((s) => `; ${s.name} ${show(s.values[i])}`).join("");

	function readOut() {
		const value = (s) => (active < 0 ? s.values.reduce((a, b) => a + b, 0) : s.values[active]);
		at.replaceChildren(h("strong", {}, active < 0 ? "All of it" : label(times[active])), " ",
			show(active < 0 ? totals.reduce((a, b) => a + b, 0) : totals[active]));
		legend.replaceChildren(...series.map((s, n) => h("li", {},
			svg("svg", { width: 12, height: 12, "aria-hidden": "true" },
				svg("rect", { width: 12, height: 12, rx: 2, class: `s${s.other ? "x" : n % 6}` })),
			h("span", { class: "name" }, s.name), h("span", { class: "num" }, show(value(s))))));
	}

	function choose(i) {
		active = i;
		readOut();
		drawing.querySelectorAll(".bar").forEach((g, n) => {
			g.classList.toggle("dim", active >= 0 && n !== active);
		});
		drawing.setAttribute("aria-valuenow", String(Math.max(active, 0)));
		drawing.setAttribute("aria-valuetext", active < 0
			? `all: ${show(totals.reduce((a, b) => a + b, 0))}` : valueText(active));
	}

	function onKey(event) {
		const last = times.length - 1;
		const to = {
			ArrowLeft: active < 0 ? last : Math.max(active - 1, 0),
			ArrowRight: active < 0 ? 0 : Math.min(active + 1, last),
			Home: 0, End: last, Escape: -1
		}[event.key];
		if (to === undefined || (event.key === "Escape" && active < 0))
			return;
		event.preventDefault();
		event.stopPropagation();
		choose(to);
	}

	function draw() {
		const width = Math.max(box.clientWidth, 240);
		const inner = width - LEFT - RIGHT, high = HEIGHT - TOP - BOTTOM;
		const slot = inner / times.length;
		const bar = Math.max(1, Math.min(slot - (slot > 6 ? 2 : slot > 3 ? 1 : 0), 36));
		const y = (v) => TOP + high - v / top * high;
		const every = Math.ceil(times.length / Math.max(2, Math.floor(inner / 64)));
		const focused = drawing !== null && document.activeElement === drawing;

		drawing = svg("svg", {
			width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, tabindex: 0, role: "slider",
			"aria-label": `${what}. Arrow keys move through the bars.`,
			"aria-orientation": "horizontal", "aria-valuemin": 0,
			"aria-valuemax": times.length - 1, class: "chart", onkeydown: onKey,
			onblur: () => choose(-1),
			onpointermove: (event) => {
				const x = event.clientX - drawing.getBoundingClientRect().left - LEFT;
				const i = Math.floor(x / slot);
				if (i >= 0 && i < times.length && i !== active)
					choose(i);
			},
			onpointerleave: () => { if (document.activeElement !== drawing) choose(-1); }
		});
		for (let v = 0; v <= top + step / 2; v += step)
			drawing.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v) }),
				svg("text", { class: "tick", x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" },
					tick(v)));
		times.forEach((t, i) => {
			const x = LEFT + i * slot + (slot - bar) / 2;
			const g = svg("g", { class: "bar" },
				svg("rect", { class: "hit", x: LEFT + i * slot, y: TOP, width: slot, height: high }));
			let from = 0;
			series.forEach((s, n) => {
				if (s.values[i] <= 0)
					return;
				const tall = y(from) - y(from + s.values[i]);
				g.append(svg("rect", { class: `s${s.other ? "x" : n % 6}`, x, width: bar,
					y: y(from + s.values[i]), height: Math.max(tall - (tall > 3 ? 1 : 0), 0.5) }));
				from += s.values[i];
			});
			drawing.append(g);
			if (i % every === 0)
				drawing.append(svg("text", { class: "tick", x: LEFT + (i + 0.5) * slot, y: HEIGHT - 6,
					"text-anchor": i === 0 && slot < 30 ? "start" : "middle" }, axis(t)));
		});
		box.replaceChildren(drawing);
		choose(active);
		if (focused)
			drawing.focus();
	}

	const id = uid("table");
	const table = () => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": id },
		h("table", { class: "small" }, h("caption", { id }, what),
			h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time"),
				series.map((s) => h("th", { scope: "col", class: "num" }, s.name)),
				h("th", { scope: "col", class: "num" }, "Total"))),
			h("tbody", {}, times.map((t, i) => (totals[i] > 0 || times.length <= 60) && h("tr", {},
				h("th", { scope: "row" }, label(t)),
				series.map((s) => h("td", { class: "num" }, show(s.values[i]))),
				h("td", { class: "num" }, show(totals[i])))))));
	const more = h("details", { ontoggle: () => {
		if (more.open && more.childElementCount === 1)
			more.append(table());
	} }, h("summary", {}, "The same as a table"));

	const el = h("div", { class: "chartbox" }, box, h("div", { class: "reading" }, at, legend), more);
	let width = 0;
	new ResizeObserver(() => {
		if (box.clientWidth !== width) {
			width = box.clientWidth;
			draw();
		}
	}).observe(box);
	return el;
}
