//! A plan as the bytes of each wire: a whole body, or the events of a stream.
//!
//! Pure. Knows the shapes that agents read; must not know prompts or sockets.

use serde_json::{Value, json};

use super::ask::{Ask, Wire};
use super::plan::{COMMAND, Plan};

/// One piece of a stream. Paced ones are spread over the plan's time.
pub struct Frame {
    pub text: String,
    pub paced: bool,
}

/// `id` is unlike that of any other answer.
pub struct Writer<'a> {
    pub ask: &'a Ask,
    pub plan: &'a Plan,
    pub id: &'a str,
}

fn named(event: Value) -> Frame {
    let name = event["type"].as_str().unwrap_or_default();
    Frame { text: format!("event: {name}\ndata: {event}\n\n"), paced: false }
}

fn data(event: Value) -> Frame {
    Frame { text: format!("data: {event}\n\n"), paced: false }
}

/// Words with the blanks after them; all together are the text.
/// One question with two options, as each tool wants it.
fn question(wire: Wire, tool: Option<&str>) -> Value {
    let option = |label: &str| json!({"label": label, "description": format!("keeps it in {label}")});
    let (text, options) = ("Which store should it use?", [option("SQLite"), option("Redis")]);
    let mut asked = json!({"question": text, "header": "Store", "options": options});
    match (tool, wire) {
        (Some("ask_user"), Wire::Gemini) => asked["type"] = json!("choice"),
        (Some("ask_user"), _) => {
            let store = json!({"type": "string", "enum": ["SQLite", "Redis"]});
            let schema = json!({"properties": {"store": store}, "required": ["store"]});
            return json!({"message": text, "requestedSchema": schema});
        }
        (Some("AskQuestion"), _) => return json!({"question": text, "options": ["SQLite", "Redis"]}),
        (Some("request_user_input"), _) => asked["id"] = json!("store"),
        _ => asked["multiSelect"] = json!(false),
    }
    json!({"questions": [asked]})
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive([' ', '\n'])
}

impl Writer<'_> {
    pub fn stream(&self) -> Vec<Frame> {
        match self.ask.wire {
            Wire::Anthropic => self.anthropic_stream(),
            Wire::Chat => self.chat_stream(),
            Wire::Responses => self.responses_stream(),
            Wire::Gemini => self.gemini_stream(),
        }
    }

    pub fn whole(&self) -> Value {
        let text = match &self.ask.schema {
            Some(schema) => fill(schema).to_string(),
            None => self.plan.text.clone(),
        };
        match self.ask.wire {
            Wire::Anthropic => {
                let mut message = self.anthropic_message();
                message["content"] = json!([{"type": "text", "text": text}]);
                message["stop_reason"] = json!("end_turn");
                message
            }
            Wire::Chat => {
                let message = json!({"role": "assistant", "content": text});
                let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
                self.chat("chat.completion", json!([choice]))
            }
            Wire::Responses => self.response("completed", json!([self.message_item(&text, "completed")])),
            Wire::Gemini => gemini(json!([{"text": text}]), true),
        }
    }

    /// The words, each as `event` makes it.
    fn said(&self, event: impl Fn(&str) -> Frame) -> Vec<Frame> {
        let paced = |word| Frame { paced: true, ..event(word) };
        words(&self.plan.text).map(paced).collect()
    }

    fn arguments(&self) -> Value {
        match self.plan.call.as_deref() {
            Some("exec_command") => json!({
                "cmd": COMMAND, "sandbox_permissions": "require_escalated", "justification": "a test asks",
            }),
            Some("shell") => json!({"command": ["bash", "-lc", COMMAND]}),
            tool if tool.is_some() && tool == self.ask.question.as_deref() => question(self.ask.wire, tool),
            tool if tool.is_some() && tool == self.ask.plan.as_deref() => {
                json!({"plan": "# A plan\n\n1. Write a file.\n2. Read it.\n"})
            }
            _ => json!({"command": COMMAND, "description": "writes a file"}),
        }
    }

    fn anthropic_message(&self) -> Value {
        let usage = json!({
            "input_tokens": 42, "output_tokens": 12,
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        });
        json!({
            "id": format!("msg_{}", self.id), "type": "message", "role": "assistant", "model": self.ask.model,
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage,
        })
    }

    fn anthropic_stream(&self) -> Vec<Frame> {
        let block = match &self.plan.call {
            Some(tool) => {
                json!({"type": "tool_use", "id": format!("toolu_{}", self.id), "name": tool, "input": {}})
            }
            None => json!({"type": "text", "text": ""}),
        };
        let delta = |d: Value| named(json!({"type": "content_block_delta", "index": 0, "delta": d}));
        let mut all = vec![
            named(json!({"type": "message_start", "message": self.anthropic_message()})),
            named(json!({"type": "content_block_start", "index": 0, "content_block": block})),
        ];
        let stop = if self.plan.call.is_some() {
            let input = self.arguments().to_string();
            all.push(delta(json!({"type": "input_json_delta", "partial_json": input})));
            "tool_use"
        } else {
            all.extend(self.said(|word| delta(json!({"type": "text_delta", "text": word}))));
            "end_turn"
        };
        all.push(named(json!({"type": "content_block_stop", "index": 0})));
        let end = json!({"stop_reason": stop, "stop_sequence": null});
        all.push(named(json!({"type": "message_delta", "delta": end, "usage": {"output_tokens": 12}})));
        all.push(named(json!({"type": "message_stop"})));
        all
    }

    fn chat(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": format!("chatcmpl-{}", self.id), "object": object, "created": 1_700_000_000,
            "model": self.ask.model, "choices": choices,
            "usage": {"prompt_tokens": 42, "completion_tokens": 12, "total_tokens": 54},
        })
    }

    fn chat_stream(&self) -> Vec<Frame> {
        let chunk = |delta: Value, finish: Option<&str>| {
            let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
            let mut chunk = self.chat("chat.completion.chunk", json!([choice]));
            chunk["usage"] = Value::Null;
            data(chunk)
        };
        let mut all = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
        if let Some(tool) = &self.plan.call {
            let function = json!({"name": tool, "arguments": self.arguments().to_string()});
            let id = format!("call_{}", self.id);
            let call = json!({"index": 0, "id": id, "type": "function", "function": function});
            all.push(chunk(json!({"tool_calls": [call]}), None));
            all.push(chunk(json!({}), Some("tool_calls")));
        } else {
            all.extend(self.said(|word| chunk(json!({"content": word}), None)));
            all.push(chunk(json!({}), Some("stop")));
        }
        all.push(data(self.chat("chat.completion.chunk", json!([]))));
        all.push(Frame { text: "data: [DONE]\n\n".into(), paced: false });
        all
    }

    fn response(&self, status: &str, output: Value) -> Value {
        let usage = json!({
            "input_tokens": 42, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 12, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 54,
        });
        json!({
            "id": format!("resp_{}", self.id), "object": "response", "created_at": 1_700_000_000,
            "status": status, "model": self.ask.model, "output": output, "error": null,
            "usage": if status == "completed" { usage } else { Value::Null },
            "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "metadata": {},
            "incomplete_details": null, "instructions": null,
        })
    }

    fn message_item(&self, text: &str, status: &str) -> Value {
        let content = match text {
            "" => json!([]),
            _ => json!([{"type": "output_text", "text": text, "annotations": []}]),
        };
        json!({
            "type": "message", "id": format!("msg_{}", self.id), "status": status, "role": "assistant",
            "content": content,
        })
    }

    fn responses_stream(&self) -> Vec<Frame> {
        let mut all = Vec::new();
        let mut event = |paced: bool, kind: &str, more: Value| {
            let mut event = json!({"type": kind, "sequence_number": all.len()});
            if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
                event.extend(more);
            }
            all.push(Frame { paced, ..named(event) });
        };
        for kind in ["response.created", "response.in_progress"] {
            event(false, kind, json!({"response": self.response("in_progress", json!([]))}));
        }
        let item = match &self.plan.call {
            Some(tool) => {
                let arguments = self.arguments().to_string();
                let id = format!("fc_{}", self.id);
                let item = |arguments: &str, status: &str| {
                    json!({
                        "type": "function_call", "id": id, "call_id": format!("call_{}", self.id),
                        "name": tool, "arguments": arguments, "status": status,
                    })
                };
                event(
                    false,
                    "response.output_item.added",
                    json!({"output_index": 0, "item": item("", "in_progress")}),
                );
                let of = json!({"item_id": id, "output_index": 0});
                event(
                    false,
                    "response.function_call_arguments.delta",
                    with(&of, "delta", arguments.as_str()),
                );
                event(
                    false,
                    "response.function_call_arguments.done",
                    with(&of, "arguments", arguments.as_str()),
                );
                item(&arguments, "completed")
            }
            None => {
                let item = self.message_item("", "in_progress");
                event(false, "response.output_item.added", json!({"output_index": 0, "item": item}));
                let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
                let of = json!({"item_id": item["id"], "output_index": 0, "content_index": 0});
                event(false, "response.content_part.added", with(&of, "part", part("")));
                for word in words(&self.plan.text) {
                    event(true, "response.output_text.delta", with(&of, "delta", word));
                }
                event(false, "response.output_text.done", with(&of, "text", self.plan.text.as_str()));
                event(false, "response.content_part.done", with(&of, "part", part(&self.plan.text)));
                self.message_item(&self.plan.text, "completed")
            }
        };
        event(false, "response.output_item.done", json!({"output_index": 0, "item": item}));
        event(false, "response.completed", json!({"response": self.response("completed", json!([item]))}));
        all
    }

    fn gemini_stream(&self) -> Vec<Frame> {
        if let Some(tool) = &self.plan.call {
            let call = json!({"name": tool, "args": self.arguments()});
            return vec![data(gemini(json!([{"functionCall": call}]), true))];
        }
        let mut all = self.said(|word| data(gemini(json!([{"text": word}]), false)));
        all.push(data(gemini(json!([{"text": ""}]), true)));
        all
    }
}

fn with(of: &Value, key: &str, value: impl Into<Value>) -> Value {
    let mut more = of.clone();
    more[key] = value.into();
    more
}

fn gemini(parts: Value, last: bool) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
    if last {
        candidate["finishReason"] = json!("STOP");
    }
    let usage = json!({"promptTokenCount": 42, "candidatesTokenCount": 12, "totalTokenCount": 54});
    json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "stub"})
}

/// The least that a schema wants: its first words, zeros, and nothing else.
fn fill(schema: &Value) -> Value {
    let Some(properties) = schema["properties"].as_object() else { return json!({}) };
    let value = |of: &Value| match of["type"].as_str().unwrap_or("string").to_lowercase().as_str() {
        _ if of["enum"][0].is_string() => of["enum"][0].clone(),
        "integer" | "number" => json!(1),
        "boolean" => json!(false),
        "array" => json!([]),
        "object" => json!({}),
        _ => json!("stub"),
    };
    properties.iter().map(|(key, of)| (key.clone(), value(of))).collect::<serde_json::Map<_, _>>().into()
}

/// An error's body: a limit of requests, a refused login and an unknown model in the words of each
/// vendor.
pub fn error(wire: Wire, status: u16) -> Value {
    let said = match (status, wire) {
        (429, _) => "You exceeded your current quota.",
        (401, Wire::Anthropic) => "invalid x-api-key",
        (401, _) => "Incorrect API key provided.",
        (404, Wire::Anthropic) => "model: stub-model",
        (404, Wire::Gemini) => "models/stub-model is not found for API version v1beta.",
        (404, _) => "The model `stub-model` does not exist or you do not have access to it.",
        _ => "The stub was told to fail.",
    };
    let kind = |names: [&'static str; 4]| match status {
        429 => names[0],
        401 => names[1],
        404 => names[2],
        _ => names[3],
    };
    match wire {
        Wire::Anthropic => {
            let kind = kind(["rate_limit_error", "authentication_error", "not_found_error", "api_error"]);
            json!({"type": "error", "error": {"type": kind, "message": said}})
        }
        Wire::Gemini => {
            let kind = kind(["RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "NOT_FOUND", "INTERNAL"]);
            json!({"error": {"code": status, "message": said, "status": kind}})
        }
        Wire::Chat => {
            let kind = kind(["insufficient_quota", "invalid_api_key", "model_not_found", "server_error"]);
            json!({"error": {"message": said, "type": kind, "code": kind, "param": null}})
        }
        Wire::Responses => {
            let kind = kind(["usage_limit_reached", "invalid_api_key", "model_not_found", "server_error"]);
            json!({"error": {"message": said, "type": kind, "code": kind, "resets_in_seconds": 3600}})
        }
    }
}
