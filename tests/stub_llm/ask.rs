//! What a request of an agent asks: the wire it speaks, the newest text of its user, and whether
//! it belongs to the conversation at all.
//!
//! Pure. Knows where each wire keeps its messages; must not know what is answered.

use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Anthropic,
    Chat,
    Responses,
    Gemini,
}

impl Wire {
    /// By the path; none for what is no question to a model.
    fn of(path: &str) -> Option<Wire> {
        let counts = path.contains("count_tokens") || path.contains("countTokens");
        let ends = |end: &str| path.ends_with(end);
        match path {
            _ if counts => None,
            _ if path.contains("enerateContent") => Some(Wire::Gemini),
            _ if ends("/messages") => Some(Wire::Anthropic),
            _ if ends("/responses") => Some(Wire::Responses),
            _ if ends("/chat/completions") => Some(Wire::Chat),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Ask {
    pub wire: Wire,
    pub model: String,
    pub stream: bool,
    /// The newest text of the user, without what the agent puts around it.
    pub text: String,
    /// How many messages there are.
    pub messages: usize,
    /// The newest message is a tool's result: the same turn goes on.
    pub after_tool: bool,
    /// That result, as it was sent.
    pub result: String,
    /// The tool that runs a command of the shell, where one is offered.
    pub shell: Option<String>,
    /// The tool that asks the user a question, where one is offered.
    pub question: Option<String>,
    /// The tool that shows the user a plan for approval, where one is offered.
    pub plan: Option<String>,
    /// Not the conversation: a title, a route, a summary, a suggestion.
    pub side: bool,
    /// The answer must be JSON of this schema.
    pub schema: Option<Value>,
}

impl Ask {
    pub fn parse(path: &str, body: &Value) -> Option<Ask> {
        let wire = Wire::of(path)?;
        let (text, after_tool) = newest(wire, body);
        let sent = body[messages(wire)].as_array().and_then(|all| all.last()).filter(|_| after_tool);
        let tools = tools(body);
        let generation = &body["generationConfig"];
        let schema = ["responseJsonSchema", "responseSchema"].iter().map(|k| &generation[*k]);
        let stream = path.contains("streamGenerateContent") || body["stream"] == true;
        Some(Ask {
            wire,
            model: body["model"].as_str().unwrap_or("stub-model").to_owned(),
            stream,
            side: is_side(body, &tools, stream, &text),
            text,
            result: sent.map(Value::to_string).unwrap_or_default(),
            messages: body[messages(wire)].as_array().map_or(1, Vec::len),
            after_tool,
            shell: one_of(&tools, SHELLS),
            question: one_of(&tools, QUESTIONS),
            plan: one_of(&tools, PLANS).or_else(|| deferred(&tools)),
            schema: schema.into_iter().find(|s| s.is_object()).cloned(),
        })
    }
}

const SHELLS: &[&str] =
    &["Bash", "bash", "run_shell_command", "shell", "shell_command", "exec_command", "run_terminal_command"];

const QUESTIONS: &[&str] =
    &["AskUserQuestion", "AskQuestion", "ask_user_question", "ask_user", "question", "request_user_input"];

const PLANS: &[&str] = &["ExitPlanMode", "exit_plan_mode"];

/// Claude Code offers the rarer tools by another one, and takes a call of one all the same.
fn deferred(tools: &[String]) -> Option<String> {
    tools.iter().any(|t| t == "ToolSearch").then(|| PLANS[0].to_owned())
}

fn one_of(tools: &[String], names: &[&str]) -> Option<String> {
    tools.iter().find(|t| names.contains(&t.as_str())).cloned()
}

/// Titles, routes and suggestions are asked without tools, or not as a stream; only aider never
/// has tools. qwen keeps a memory by a helper that has some. Claude Code asks its prompt once more,
/// not as a stream, where the stream was not found (404).
fn is_side(body: &Value, tools: &[String], stream: bool, text: &str) -> bool {
    if body["model"] == "fake" {
        return false; // the fake agent asks for nothing but its prompts
    }
    let first = body["messages"][0]["content"].as_str().unwrap_or_default();
    let aider = first.starts_with("Act as an expert software developer");
    let helper = first.contains("managed memory extraction subagent") || text.starts_with("[SUGGESTION MODE");
    let again = body["system"].is_array() && !tools.is_empty();
    (!stream && !again) || (tools.is_empty() && !aider) || helper
}

fn tools(body: &Value) -> Vec<String> {
    let name = |tool: &Value| {
        let name = [&tool["name"], &tool["function"]["name"], &tool["type"]];
        name.into_iter().find_map(|n| n.as_str()).map(str::to_owned)
    };
    let groups = body["tools"].as_array().into_iter().flatten();
    groups
        .flat_map(|tool| match tool["functionDeclarations"].as_array() {
            Some(many) => many.iter().filter_map(name).collect::<Vec<_>>(),
            None => name(tool).into_iter().collect(),
        })
        .collect()
}

fn messages(wire: Wire) -> &'static str {
    match wire {
        Wire::Anthropic | Wire::Chat => "messages",
        Wire::Responses => "input",
        Wire::Gemini => "contents",
    }
}

/// The newest user text, and whether a tool's result came after it.
fn newest(wire: Wire, body: &Value) -> (String, bool) {
    let key = messages(wire);
    if let Some(text) = body[key].as_str() {
        return (clean(text), false);
    }
    let (mut found, mut after_tool) = (String::new(), false);
    for message in body[key].as_array().into_iter().flatten() {
        if is_result(message) {
            after_tool = true;
        }
        if message["role"] != "user" {
            continue;
        }
        let content = if wire == Wire::Gemini { &message["parts"] } else { &message["content"] };
        let blocks = content.as_array().into_iter().flatten();
        after_tool |= blocks.clone().any(is_result);
        let texts: Vec<String> = match content.as_str() {
            Some(text) => vec![clean(text)],
            None => blocks.filter_map(|b| b["text"].as_str()).map(clean).collect(),
        };
        // A prompt that was interrupted may stand before the next one in one message.
        let text = texts.into_iter().rfind(|t| !t.is_empty()).unwrap_or_default();
        if !text.is_empty() {
            (found, after_tool) = (text, false);
        }
    }
    (found, after_tool)
}

fn is_result(item: &Value) -> bool {
    let kind = item["type"].as_str().unwrap_or_default();
    item["role"] == "tool"
        || kind.ends_with("_call_output")
        || kind == "tool_result"
        || item.get("functionResponse").is_some()
}

/// What agents put around a prompt: blocks `<tag>…</tag>` of their own.
const AROUND: &[&str] = &[
    "system-reminder",
    "system_reminder",
    "environment_context",
    "user_instructions",
    "session_context",
    "current_datetime",
    "reminder",
];

fn clean(text: &str) -> String {
    let mut rest = text.to_owned();
    for tag in AROUND {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        while let Some(from) = rest.find(&open)
            && let Some(len) = rest[from..].find(&close)
        {
            rest.replace_range(from..from + len + close.len(), "");
        }
    }
    // claude wraps a long paste: `<pasted_content id="9222">`. (copilot's has a file= instead: its
    // text is not sent.)
    while let Some(from) = rest.find("<pasted_content id=")
        && let Some(len) = rest[from..].find('>')
    {
        rest.replace_range(from..=from + len, "");
        rest = rest.replacen("</pasted_content>", "", 1);
    }
    rest.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(path: &str, body: Value) -> Ask {
        Ask::parse(path, &body).unwrap()
    }

    #[test]
    fn the_newest_prompt_is_found_on_every_wire() {
        let tool = json!([{"name": "Bash"}]);
        let wrapped = "<system-reminder>\nx\n</system-reminder>";
        let paste = "<pasted_content id=\"9\">\nlong\n</pasted_content>";
        let content = json!([{"type": "text", "text": wrapped}, {"type": "text", "text": paste}]);
        let asked = json!({"role": "user", "content": content});
        let first = ask("/v1/messages", json!({"stream": true, "tools": tool, "messages": [asked.clone()]}));
        assert_eq!((first.text.as_str(), first.after_tool, first.side), ("long", false, false));
        let result = json!({"role": "user", "content": [{"type": "tool_result"}]});
        let next = json!({"stream": true, "tools": tool, "messages": [asked, result]});
        assert!(ask("/v1/messages", next).after_tool);

        let parts = json!([{"role": "user", "parts": [{"text": "hello"}]}]);
        let found = ask("/v1beta/models/x:streamGenerateContent", json!({"contents": parts}));
        assert_eq!((found.text.as_str(), found.side), ("hello", true), "no tools: no part of the talk");
        let input = json!([{"role": "user", "content": [{"text": "hi"}]}, {"type": "function_call_output"}]);
        assert!(ask("/v1/responses", json!({"input": input})).after_tool);
        assert!(Ask::parse("/v1/messages/count_tokens", &json!({})).is_none());
    }
}
