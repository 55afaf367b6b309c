//! What a request of an agent asks: the wire it speaks, the newest text of its user, and whether
//! it belongs to the talk at all.
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

    pub fn word(self) -> &'static str {
        match self {
            Wire::Anthropic => "anthropic",
            Wire::Chat => "chat",
            Wire::Responses => "responses",
            Wire::Gemini => "gemini",
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
    /// The newest message is a tool's result: the same turn goes on.
    pub after_tool: bool,
    /// The tool that runs a command of the shell, where one is offered.
    pub shell: Option<String>,
    /// Not the talk: a title, a route, a summary, a suggestion.
    pub side: bool,
    /// The answer must be JSON of this schema.
    pub schema: Option<Value>,
}

impl Ask {
    pub fn parse(path: &str, body: &Value) -> Option<Ask> {
        let wire = Wire::of(path)?;
        let (text, after_tool) = newest(wire, body);
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
            after_tool,
            shell: tools.into_iter().find(|t| SHELLS.contains(&t.as_str())),
            schema: schema.into_iter().find(|s| s.is_object()).cloned(),
        })
    }
}

const SHELLS: &[&str] =
    &["Bash", "bash", "run_shell_command", "shell", "shell_command", "exec_command", "run_terminal_command"];

/// Titles, routes and suggestions are asked without tools, or not as a stream. aider never has tools.
fn is_side(body: &Value, tools: &[String], stream: bool, text: &str) -> bool {
    if body["model"] == "fake" {
        return false; // the fake agent asks for nothing but its prompts
    }
    let aider = body.to_string().contains("Act as an expert software developer");
    let suggestion = text.starts_with("[SUGGESTION MODE") || text.starts_with("[SYSTEM]");
    !stream || (tools.is_empty() && !aider) || suggestion
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

/// The newest user text, and whether a tool's result came after it.
fn newest(wire: Wire, body: &Value) -> (String, bool) {
    let key = match wire {
        Wire::Anthropic | Wire::Chat => "messages",
        Wire::Responses => "input",
        Wire::Gemini => "contents",
    };
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
        let text = texts.into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join("\n");
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
    rest.trim().to_owned()
}
