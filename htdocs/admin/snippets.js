/* snippets.js - what to paste into a client to use a token of this gateway. */
import { gatewayURL, mountURL } from "./api.js";
import { copyButton, field, h, uid } from "./dom.js";

const quote = (s) => `'${s.replaceAll("'", "'\\''")}'`;
const json = JSON.stringify;

const kinds = {
	curl: (token, model) => `curl ${gatewayURL}/chat/completions \\
  -H ${quote(`Authorization: Bearer ${token}`)} \\
  -H 'Content-Type: application/json' \\
  -d ${quote(json({ model, messages: [{ role: "user", content: "Hello!" }] }))}`,
	Python: (token, model) => `from openai import OpenAI

client = OpenAI(base_url=${json(gatewayURL)}, api_key=${json(token)})
answer = client.chat.completions.create(
    model=${json(model)},
    messages=[{"role": "user", "content": "Hello!"}],
)
print(answer.choices[0].message.content)`,
	Node: (token, model) => `import OpenAI from "openai";

const client = new OpenAI({ baseURL: ${json(gatewayURL)}, apiKey: ${json(token)} });
const answer = await client.chat.completions.create({
  model: ${json(model)},
  messages: [{ role: "user", content: "Hello!" }],
});
console.log(answer.choices[0].message.content);`,
	"Claude Code": (token, model) => `export ANTHROPIC_BASE_URL=${quote(mountURL)}
export ANTHROPIC_AUTH_TOKEN=${quote(token)}
export ANTHROPIC_MODEL=${quote(model)}
claude`
};

/* Tabs, one for each client; the arrow keys go from one to the next. */
export function snippets(token, model, oncopy) {
	let chosen = "curl";
	const code = h("code");
	const panel = h("pre", { id: uid("snippet"), tabindex: "0", role: "tabpanel" }, code);
	const text = () => kinds[chosen](token, modelField.control.value.trim() || model);
	const tabs = Object.keys(kinds).map((name) => h("button", { type: "button", role: "tab",
		"aria-controls": panel.id, onclick: () => pick(name) }, name));
	const modelField = field("Model in the examples", h("input", { value: model, autocomplete: "off",
		spellcheck: "false", oninput: () => { code.textContent = text(); } }));

	function pick(name) {
		chosen = name;
		tabs.forEach((t) => {
			const on = t.textContent === name;
			t.setAttribute("aria-selected", String(on));
			t.tabIndex = on ? 0 : -1;
		});
		panel.setAttribute("aria-label", `Example for ${name}`);
		code.textContent = text();
	}
	const bar = h("div", { class: "tabs", role: "tablist", "aria-label": "Examples", onkeydown: (e) => {
		const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
		if (!step)
			return;
		const names = Object.keys(kinds);
		const i = (names.indexOf(chosen) + step + names.length) % names.length;
		pick(names[i]);
		tabs[i].focus();
	} }, tabs);
	pick(chosen);
	return h("div", { class: "snippets" }, bar,
		h("div", { class: "code" }, panel, copyButton(text, { what: "example", oncopy })), modelField);
}
