/* import.js - tokens of other gateways: a file, what would become of it, and then for good. */
import { api } from "./api.js";
import { field, form, h, say, select } from "./dom.js";
import { plural } from "./format.js";
import { chooser, forget } from "./pick.js";

const gateways = [["litellm", "LiteLLM"], ["new-api", "new-api"], ["llm-proxy", "llm-proxy"]];
const SHOWN = 100; /* rows that somebody should look at */

function told(report) {
	const rows = report.data.filter((r) => r.refused || r.not_carried.length > 0);
	return h("div", { role: "status" },
		h("p", {}, h("strong", {}, report.dry_run ? "It would take over " : "Taken over: "),
			`${plural(report.imported, "token")} of ${report.read}, with ${plural(report.limits, "limit")}; ` +
			`${report.skipped} here already, ${report.refused} not taken.`),
		report.projects_made.length > 0 && h("p", {}, `Projects made: ${report.projects_made.join(", ")}.`),
		h("ul", { class: "feed" }, rows.slice(0, SHOWN).map((r) => h("li", {}, `Row ${r.row}`,
			r.name && ` “${r.name}”`, r.refused ? `: not taken, ${r.refused}`
				: `: not carried over: ${r.not_carried.join(", ")}`))),
		rows.length > SHOWN && h("p", { class: "dim" }, `and ${rows.length - SHOWN} more`));
}

/* done(): something was imported. */
export function importForm(close, done) {
	const from = field("From", select(gateways, "litellm", { "data-first": true }), { name: "from" });
	const project = field("Into project", chooser("projects", "", "Those the file names"),
		{ name: "project_id" });
	const file = field("File", h("input", { type: "file", required: true,
		accept: ".json,.ndjson,.jsonl,.csv,.txt" }), { name: "text",
		hint: "Its export as JSON or CSV, with the secrets or their hashes; a large one in parts." });
	const dry = field("Only tell what it would do", h("input", { type: "checkbox", checked: true }),
		{ name: "dry_run" });
	const result = h("div");
	return h("div", {}, h("p", {}, "Clients keep their keys. Budgets and rates become limits."),
		form({ fields: [from, project, file, dry], label: "Import", cancel: close, submit: async () => {
			const body = { from: from.control.value, text: await file.control.files[0].text(),
				dry_run: dry.control.checked };
			if (project.control.value)
				body.project_id = project.control.value;
			const report = await api.create("tokens/import", body);
			result.replaceChildren(told(report));
			if (!report.dry_run) {
				forget("projects");
				say(`Imported ${plural(report.imported, "token")}.`);
				done();
			}
		} }), result);
}
