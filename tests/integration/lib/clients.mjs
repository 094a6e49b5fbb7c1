// clients.mjs - the official clients, asked the same things in the same words, so that a table of
// them against providers is one list of questions.
//
// A client is {name, open(url, token)}; what that gives is {ask(wish)}, with `counts` {count(wish)} too.  A wish is {model,
// text, system, image, tools, schema, reasoning, stream, most, signal, turns, onPiece}; an answer is
// {text, calls: [{name, args}], reasoning, stop, usage: {input, cached, output, reasoning}, pieces,
// turns(results)}: turns are handed on in the next wish.  usage.input has the cached in it.

import OpenAI, { AzureOpenAI } from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { ApiError, GoogleGenAI } from "@google/genai";
import * as bedrock from "@aws-sdk/client-bedrock-runtime";
import { NodeHttpHandler } from "@smithy/node-http-handler";

export const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==", "base64");
export const SCHEMA = { type: "object", additionalProperties: false, required: ["city", "days"],
  properties: { city: { type: "string" }, days: { type: "integer" } } };
export const TOOLS = ["get_weather", "get_time"].map((name) => ({ name, description: `Tells ${name}.`,
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false } }));

const parse = (text) => JSON.parse(text === "" ? "{}" : text);

// ---- OpenAI: chat ----

function chat(name, make) {
  const content = (wish) => (wish.image ? [{ type: "text", text: wish.text },
    { type: "image_url", image_url: { url: `data:image/png;base64,${wish.image.toString("base64")}` } }] : wish.text);
  return {
    name,
    rate: OpenAI.RateLimitError, bad: OpenAI.BadRequestError, denied: OpenAI.AuthenticationError,
    open(url, token) {
      const client = make(url, token);
      async function ask(wish) {
        const messages = wish.turns ?? [...(wish.system ? [{ role: "system", content: wish.system }] : []),
          { role: "user", content: content(wish) }];
        const body = { model: wish.model, messages };
        if (wish.tools) body.tools = TOOLS.map((f) => ({ type: "function", function: f }));
        if (wish.schema) body.response_format = { type: "json_schema", json_schema: { name: "it", strict: true, schema: wish.schema } };
        if (wish.reasoning) body.reasoning_effort = "low";
        if (wish.most) body.max_completion_tokens = wish.most;
        let made, reasoning = "", pieces = 0;
        if (wish.stream) {
          const stream = client.chat.completions.stream({ ...body, stream_options: { include_usage: true } }, { signal: wish.signal });
          stream.on("chunk", (chunk) => {
            const delta = chunk.choices[0]?.delta;
            reasoning += delta?.reasoning_content ?? delta?.reasoning ?? "";
            if (delta?.content) wish.onPiece?.(++pieces);
          });
          made = await stream.finalChatCompletion();
        } else {
          made = await client.chat.completions.create(body, { signal: wish.signal });
          reasoning = made.choices[0].message.reasoning_content ?? made.choices[0].message.reasoning ?? "";
        }
        const { message, finish_reason: stop } = made.choices[0], calls = message.tool_calls ?? [];
        return {
          text: message.content ?? "", stop, reasoning, pieces,
          calls: calls.map((c) => ({ name: c.function.name, args: parse(c.function.arguments) })),
          usage: { input: made.usage?.prompt_tokens, cached: made.usage?.prompt_tokens_details?.cached_tokens ?? 0,
            output: made.usage?.completion_tokens, reasoning: made.usage?.completion_tokens_details?.reasoning_tokens ?? 0 },
          turns: (results) => [...messages, message,
            ...calls.map((c, i) => ({ role: "tool", tool_call_id: c.id, content: results[i] }))],
        };
      }
      return { ask, models: async () => (await client.models.list()).data.map((m) => m.id) };
    },
  };
}

const openaiChat = chat("openai chat", (url, token) => new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0 }));
const azureChat = chat("azure chat", (url, token) => new AzureOpenAI({ endpoint: url, apiKey: token, apiVersion: "2024-10-21", maxRetries: 0 }));

// ---- OpenAI: responses ----

const openaiResponses = {
  name: "openai responses",
  rate: OpenAI.RateLimitError, bad: OpenAI.BadRequestError, denied: OpenAI.AuthenticationError,
  open(url, token) {
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: token, maxRetries: 0 });
    async function ask(wish) {
      const input = wish.turns ?? [{ role: "user", content: wish.image ? [{ type: "input_text", text: wish.text },
        { type: "input_image", image_url: `data:image/png;base64,${wish.image.toString("base64")}`, detail: "auto" }] : wish.text }];
      const body = { model: wish.model, input, store: false };
      if (wish.system) body.instructions = wish.system;
      if (wish.tools) body.tools = TOOLS.map((f) => ({ type: "function", strict: true, ...f }));
      if (wish.schema) body.text = { format: { type: "json_schema", name: "it", strict: true, schema: wish.schema } };
      if (wish.reasoning) Object.assign(body, { reasoning: { effort: "low", summary: "auto" }, include: ["reasoning.encrypted_content"] });
      if (wish.most) body.max_output_tokens = wish.most;
      let made, pieces = 0;
      if (wish.stream) {
        const stream = client.responses.stream(body, { signal: wish.signal });
        stream.on("response.output_text.delta", () => wish.onPiece?.(++pieces));
        made = await stream.finalResponse();
      } else {
        made = await client.responses.create(body, { signal: wish.signal });
      }
      // a stream that failed is an answer to this SDK, not an exception: its caller has to look
      if (made.status === "failed") throw Object.assign(new Error(made.error.message), { code: made.error.code });
      const calls = made.output.filter((item) => item.type === "function_call");
      const items = made.output.map(({ parsed_arguments, ...item }) => item);
      return {
        text: made.output_text, pieces,
        stop: calls.length > 0 ? "tool_calls" : made.incomplete_details?.reason ?? made.status,
        reasoning: made.output.filter((item) => item.type === "reasoning")
          .flatMap((item) => [...(item.summary ?? []), ...(item.content ?? [])]).map((part) => part.text).join(""),
        calls: calls.map((c) => ({ name: c.name, args: parse(c.arguments) })),
        usage: { input: made.usage?.input_tokens, cached: made.usage?.input_tokens_details?.cached_tokens ?? 0,
          output: made.usage?.output_tokens, reasoning: made.usage?.output_tokens_details?.reasoning_tokens ?? 0 },
        turns: (results) => [...input, ...items,
          ...calls.map((c, i) => ({ type: "function_call_output", call_id: c.call_id, output: results[i] }))],
      };
    }
    return { ask };
  },
};

// ---- Anthropic ----

const claudeTurns = (wish) => wish.turns ?? [{ role: "user", content: wish.image ? [{ type: "text", text: wish.text },
  { type: "image", source: { type: "base64", media_type: "image/png", data: wish.image.toString("base64") } }] : wish.text }];

function claudeBody(wish, messages) {
  const body = { max_tokens: wish.most ?? 4096, messages };
  if (wish.system) body.system = wish.system;
  if (wish.tools) body.tools = TOOLS.map(({ parameters, ...f }) => ({ ...f, input_schema: parameters }));
  if (wish.schema) body.output_config = { format: { type: "json_schema", schema: wish.schema } };
  if (wish.reasoning) body.thinking = { type: "enabled", budget_tokens: 1024 };
  return body;
}

function claudeAnswer(made, messages, pieces) {
  const of = (type) => made.content.filter((block) => block.type === type), calls = of("tool_use"), u = made.usage;
  return {
    text: of("text").map((b) => b.text).join(""), stop: made.stop_reason, pieces,
    reasoning: of("thinking").map((b) => b.thinking).join(""),
    calls: calls.map((c) => ({ name: c.name, args: c.input })),
    usage: { input: u.input_tokens + (u.cache_read_input_tokens ?? 0) + (u.cache_creation_input_tokens ?? 0),
      cached: u.cache_read_input_tokens ?? 0, output: u.output_tokens,
      reasoning: u.output_tokens_details?.thinking_tokens ?? 0 },
    turns: (results) => [...messages, { role: "assistant", content: made.content }, { role: "user",
      content: calls.map((c, i) => ({ type: "tool_result", tool_use_id: c.id, content: results[i] })) }],
  };
}

const anthropic = {
  name: "anthropic", counts: true,
  rate: Anthropic.RateLimitError, bad: Anthropic.BadRequestError, denied: Anthropic.AuthenticationError,
  open(url, token) {
    const client = new Anthropic({ baseURL: url, apiKey: token, maxRetries: 0 });
    async function ask(wish) {
      const messages = claudeTurns(wish), body = { model: wish.model, ...claudeBody(wish, messages) };
      let made, pieces = 0;
      if (wish.stream) {
        const stream = client.messages.stream(body, { signal: wish.signal });
        stream.on("text", () => wish.onPiece?.(++pieces));
        made = await stream.finalMessage();
      } else {
        made = await client.messages.create(body, { signal: wish.signal });
      }
      return claudeAnswer(made, messages, pieces);
    }
    return { ask, models: async () => (await client.models.list()).data.map((m) => m.id),
      count: async (wish) => (await client.messages.countTokens({ model: wish.model, messages: claudeTurns(wish) })).input_tokens };
  },
};

// ---- Gemini ----

const gemini = {
  name: "gemini", counts: true,
  rate: (e) => e instanceof ApiError && e.status === 429,
  bad: (e) => e instanceof ApiError && e.status === 400 && /INVALID_ARGUMENT/.test(e.message),
  denied: (e) => e instanceof ApiError && (e.status === 400 || e.status === 401),
  open(url, token) {
    const client = new GoogleGenAI({ apiKey: token, httpOptions: { baseUrl: url, retryOptions: { attempts: 1 } } });
    async function ask(wish) {
      const contents = wish.turns ?? [{ role: "user", parts: [{ text: wish.text },
        ...(wish.image ? [{ inlineData: { mimeType: "image/png", data: wish.image.toString("base64") } }] : [])] }];
      const config = { abortSignal: wish.signal };
      if (wish.system) config.systemInstruction = wish.system;
      if (wish.tools) config.tools = [{ functionDeclarations: TOOLS.map(({ parameters, ...f }) => ({ ...f, parametersJsonSchema: parameters })) }];
      if (wish.schema) Object.assign(config, { responseMimeType: "application/json", responseJsonSchema: wish.schema });
      if (wish.reasoning) config.thinkingConfig = { includeThoughts: true, thinkingBudget: 1024 };
      if (wish.most) config.maxOutputTokens = wish.most;
      const chunks = [];
      let pieces = 0;
      if (wish.stream) {
        for await (const chunk of await client.models.generateContentStream({ model: wish.model, contents, config })) {
          chunks.push(chunk);
          if (chunk.candidates?.[0]?.content?.parts?.some((p) => p.text && !p.thought)) wish.onPiece?.(++pieces);
        }
      } else {
        chunks.push(await client.models.generateContent({ model: wish.model, contents, config }));
      }
      const parts = chunks.flatMap((chunk) => chunk.candidates?.[0]?.content?.parts ?? []);
      const calls = parts.filter((p) => p.functionCall), last = chunks.at(-1), u = last.usageMetadata ?? {};
      const text = (thought) => parts.filter((p) => p.text !== undefined && Boolean(p.thought) === thought).map((p) => p.text).join("");
      return {
        text: text(false), reasoning: text(true), pieces, stop: last.candidates?.[0]?.finishReason,
        calls: calls.map((p) => ({ name: p.functionCall.name, args: p.functionCall.args ?? {} })),
        usage: { input: u.promptTokenCount, cached: u.cachedContentTokenCount ?? 0,
          output: (u.candidatesTokenCount ?? 0) + (u.thoughtsTokenCount ?? 0), reasoning: u.thoughtsTokenCount ?? 0 },
        turns: (results) => [...contents, { role: "model", parts: parts.filter((p) => p.text !== "" || p.thoughtSignature) },
          { role: "user", parts: calls.map((p, i) => ({ functionResponse: { id: p.functionCall.id, name: p.functionCall.name,
            response: { result: results[i] } } })) }],
      };
    }
    async function models() {
      const names = [];
      for await (const model of await client.models.list()) names.push(model.name.replace(/^models\//, ""));
      return names;
    }
    return { ask, models,
      count: async (wish) => (await client.models.countTokens({ model: wish.model, contents: wish.text })).totalTokens };
  },
};

// ---- Bedrock: Converse ----

async function gatherConverse(stream, wish) {
  const content = [];
  let stopReason, usage, pieces = 0;
  for await (const event of stream) {
    const { contentBlockStart: start, contentBlockDelta: piece } = event;
    if (start) content[start.contentBlockIndex] = { toolUse: { ...start.start.toolUse, input: "" } };
    if (piece) {
      const { text, toolUse, reasoningContent } = piece.delta, at = piece.contentBlockIndex;
      if (text !== undefined) {
        content[at] = { text: (content[at]?.text ?? "") + text };
        wish.onPiece?.(++pieces);
      }
      if (toolUse) content[at].toolUse.input += toolUse.input;
      if (reasoningContent) {
        const { reasoningText } = (content[at] ??= { reasoningContent: { reasoningText: { text: "" } } }).reasoningContent;
        reasoningText.text += reasoningContent.text ?? "";
        if (reasoningContent.signature) reasoningText.signature = reasoningContent.signature;
      }
    }
    if (event.messageStop) stopReason = event.messageStop.stopReason;
    if (event.metadata) usage = event.metadata.usage;
  }
  for (const block of content) if (block?.toolUse) block.toolUse.input = parse(block.toolUse.input);
  return { output: { message: { role: "assistant", content } }, stopReason, usage, pieces };
}

const runtime = (url, token) => new bedrock.BedrockRuntimeClient({ region: "us-east-1", endpoint: url, maxAttempts: 1,
  credentials: { accessKeyId: token, secretAccessKey: "not looked at" },
  requestHandler: new NodeHttpHandler() }); // its own choice is HTTP/2 without TLS

const converse = {
  name: "converse", counts: true,
  rate: bedrock.ThrottlingException, bad: bedrock.ValidationException,
  denied: (e) => e.$metadata?.httpStatusCode === 403 || e.$metadata?.httpStatusCode === 401,
  open(url, token) {
    const client = runtime(url, token);
    async function ask(wish) {
      const messages = wish.turns ?? [{ role: "user", content: [{ text: wish.text },
        ...(wish.image ? [{ image: { format: "png", source: { bytes: wish.image } } }] : [])] }];
      const input = { modelId: wish.model, messages };
      if (wish.system) input.system = [{ text: wish.system }];
      if (wish.tools) input.toolConfig = { tools: TOOLS.map(({ parameters, ...f }) => ({ toolSpec: { ...f, inputSchema: { json: parameters } } })) };
      if (wish.schema) input.outputConfig = { textFormat: { type: "json_schema", structure: { jsonSchema:
        { name: "it", schema: JSON.stringify(wish.schema) } } } };
      if (wish.reasoning) Object.assign(input, { inferenceConfig: { maxTokens: 4096 },
        additionalModelRequestFields: { thinking: { type: "enabled", budget_tokens: 1024 } } });
      if (wish.most) input.inferenceConfig = { maxTokens: wish.most };
      const options = { abortSignal: wish.signal };
      const made = wish.stream
        ? await gatherConverse((await client.send(new bedrock.ConverseStreamCommand(input), options)).stream, wish)
        : await client.send(new bedrock.ConverseCommand(input), options);
      const { message } = made.output, calls = message.content.filter((b) => b.toolUse).map((b) => b.toolUse), u = made.usage ?? {};
      return {
        text: message.content.map((b) => b.text ?? "").join(""), stop: made.stopReason, pieces: made.pieces,
        reasoning: message.content.map((b) => b.reasoningContent?.reasoningText?.text ?? "").join(""),
        calls: calls.map((c) => ({ name: c.name, args: c.input })),
        usage: { input: u.inputTokens + (u.cacheReadInputTokens ?? 0) + (u.cacheWriteInputTokens ?? 0),
          cached: u.cacheReadInputTokens ?? 0, output: u.outputTokens, reasoning: 0 },
        turns: (results) => [...messages, message, { role: "user",
          content: calls.map((c, i) => ({ toolResult: { toolUseId: c.toolUseId, content: [{ text: results[i] }] } })) }],
      };
    }
    return { ask, count: async (wish) => (await client.send(new bedrock.CountTokensCommand({ modelId: wish.model,
      input: { converse: { messages: [{ role: "user", content: [{ text: wish.text }] }] } } }))).inputTokens };
  },
};

// ---- Bedrock: InvokeModel, as for Claude ----

async function gatherInvoke(stream, wish) {
  let message, pieces = 0;
  for await (const { chunk } of stream) {
    const event = JSON.parse(Buffer.from(chunk.bytes).toString()), { index, delta } = event;
    if (event.type === "message_start") message = event.message;
    if (event.type === "content_block_start") message.content[index] = { ...event.content_block, json: "" };
    if (event.type === "content_block_delta") {
      const block = message.content[index];
      if (delta.type === "text_delta") wish.onPiece?.(++pieces);
      if (delta.type === "input_json_delta") block.json += delta.partial_json;
      for (const field of ["text", "thinking", "signature"]) if (delta[field] !== undefined) block[field] += delta[field];
    }
    if (event.type === "message_delta") {
      Object.assign(message, delta);
      Object.assign(message.usage, event.usage);
    }
  }
  for (const block of message.content) {
    if (block.type === "tool_use") block.input = parse(block.json);
    delete block.json;
  }
  return { message, pieces };
}

const invoke = {
  name: "invoke",
  rate: bedrock.ThrottlingException, bad: bedrock.ValidationException, denied: converse.denied,
  open(url, token) {
    const client = runtime(url, token);
    async function ask(wish) {
      const messages = claudeTurns(wish), options = { abortSignal: wish.signal };
      const input = { modelId: wish.model, contentType: "application/json",
        body: JSON.stringify({ anthropic_version: "bedrock-2023-05-31", ...claudeBody(wish, messages) }) };
      if (wish.stream) {
        const answer = await client.send(new bedrock.InvokeModelWithResponseStreamCommand(input), options);
        const { message, pieces } = await gatherInvoke(answer.body, wish);
        return claudeAnswer(message, messages, pieces);
      }
      const answer = await client.send(new bedrock.InvokeModelCommand(input), options);
      return claudeAnswer(JSON.parse(Buffer.from(answer.body).toString()), messages, 0);
    }
    return { ask };
  },
};

export const clients = [openaiChat, openaiResponses, azureChat, anthropic, gemini, converse, invoke];
