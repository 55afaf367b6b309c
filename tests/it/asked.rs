//! What the dialogs on saved screens ask, read off them by eye: a row for each situation.

/// `(agent, situations, header, rows that are in the text, options, selected)`.
pub(super) type Asked = (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    Option<usize>,
);

/// Another command that agents were asked to run.
const ECHO: &str = "echo tool-was-run > tool.txt";
const YES_NO: &[&str] = &["Yes", "No"];
const CLAUDE: &[&str] = &[
    "Yes",
    "Yes, and always allow access to /home/dev/proj from this project",
    "Yes, and switch to auto mode · auto mode handles these prompts for you",
    "No",
];
const CLAUDE_TEXT: &[&str] = &["touch stub_was_here", "Do you want to proceed?"];
const CODEX: &[&str] = &[
    "Yes, proceed (y)",
    "Yes, and don't ask again for commands that start with `touch stub_was_here` (p)",
    "No, and tell Codex what to do differently (esc)",
];
const CODEX_ASKS: &str = "Would you like to run the following command?";
const CODEX_TEXT: &[&str] = &["Environment: local", "Reason: stub asks", "$ touch stub_was_here"];
const CODEX_LOGIN: &[&str] = &["Sign in with ChatGPT", "Sign in with Device Code", "Sign in another way"];
const CODEX_TALK: &[&str] = &["fix the first pointthen the second oneand the third"];
const CONTINUE: &[&str] = &[
    "Continue (tab)",
    "Continue + don't ask again (shift+tab)",
    "No, and tell Continue what to do differently (esc)",
];
const CONTINUE_TEXT: &[&str] = &["⎿ Will run: touch stub_was_here", "Would you like to continue?"];
const COPILOT: &[&str] = &[
    "Yes",
    "Yes, and don't ask again for `touch` in this repo (~/proj)",
    "No, and tell Copilot what to do differently (Esc to stop)",
];
const COPILOT_TEXT: &[&str] = &["touch stub_was_here", "Do you want to run this command?"];
const GEMINI: &[&str] = &["Allow once", "Allow for this session", "No, suggest changes (esc)"];
const GEMINI_TEXT: &[&str] = &["touch stub_was_here", "Allow execution of [Shell]?"];
const GEMINI_LOGIN: &[&str] = &["Sign in with Google", "Use Gemini API Key", "Vertex AI"];
const OPENCODE: &[&str] = &["Allow once", "Allow always", "Reject"];
const OPENCODE_TEXT: &[&str] = &["# Shell command", "$ touch stub_was_here"];
const QWEN: &[&str] = &[
    "Yes, allow once",
    "Always allow run 'touch *' commands in this project",
    "Always allow run 'touch *' commands for this user",
    "No, suggest changes (esc)",
];
const QWEN_ASKS: &str = "Shell touch stub_was_here (stub tool call)";
const QWEN_TEXT: &[&str] = &["touch stub_was_here", "Allow execution of: 'touch'?"];
const QWEN_LOGIN: &[&str] = &["Alibaba ModelStudio", "Third-party Providers", "Custom Provider"];

pub(super) const ASKED: &[Asked] = &[
    ("aider", "approval", "Run shell command?", &[ECHO], &["Yes", "No", "Don't ask again"], Some(1)),
    ("aider", "approval", "Add 0.0k tokens of command output to the chat?", &["hello"], YES_NO, Some(1)),
    (
        "aider",
        "firstrun",
        "No git repo found, create one to track aider's changes (recommended)?",
        &[],
        YES_NO,
        Some(1),
    ),
    ("claude", "approval old-blocked", "Bash command", CLAUDE_TEXT, CLAUDE, Some(1)),
    ("claude", "approval-down", "Bash command", CLAUDE_TEXT, CLAUDE, Some(2)),
    (
        "claude",
        "approval",
        "Bash command",
        &["writes a file", ECHO, "Do you want to proceed?"],
        &["Yes", "Yes, and always allow access to /tmp/muxxxxxxx/proj from this project", CLAUDE[2], "No"],
        Some(1),
    ),
    (
        "claude",
        "apikey-menu",
        "Detected a custom API key in your environment",
        &["Do you want to use this API key?"],
        &["Yes", "No (recommended)"],
        Some(2),
    ),
    (
        "claude",
        "bypass-warning",
        "WARNING: Claude Code running in Bypass Permissions mode",
        &["commands.", "https://code.claude.com/docs/en/security"],
        &["No, exit", "Yes, I accept"],
        Some(1),
    ),
    (
        "claude",
        "login-menu",
        "Login",
        &["Select login method:"],
        &[
            "Claude account with subscription · Individual, Team, or Enterprise",
            "Anthropic Console account · API usage billing",
            "3rd-party platform · Bedrock, Microsoft Foundry, Google Vertex AI",
        ],
        Some(1),
    ),
    ("claude", "resume-menu resume-menu-down", "Resume session", &["proj"], &["stop early THINK6"], Some(1)),
    (
        "claude",
        "resume-picker",
        "Resume session",
        &["proj"],
        &["retry this ERR429", "stop early THINK6"],
        Some(1),
    ),
    (
        "claude",
        "sub-limit-options",
        "What do you want to do?",
        &[],
        &[
            "Stop and wait for limit to reset",
            "Wait here, then continue automatically at 7:06am",
            "Upgrade your plan",
        ],
        Some(1),
    ),
    (
        "claude",
        "trust firstrun",
        "Accessing workspace:",
        &["Security guide"],
        &["No, exit", "Yes, I trust this folder"],
        Some(1),
    ),
    (
        "claude",
        "trust-down",
        "Accessing workspace:",
        &["/home/dev/proj"],
        &["No, exit", "Yes, I trust this folder"],
        Some(2),
    ),
    ("codex", "approval approval-2 old-blocked", CODEX_ASKS, CODEX_TEXT, CODEX, Some(1)),
    (
        "codex",
        "approval",
        CODEX_ASKS,
        &["Reason: a test asks", "$ echo tool-was-run > tool.txt"],
        &[
            CODEX[0],
            "Yes, and don't ask again for commands that start with `echo tool-was-run > tool.txt` (p)",
            CODEX[2],
        ],
        Some(1),
    ),
    (
        "codex",
        "rewind",
        "Rewind",
        &["Browsing · ↑↓/jk scroll · ←→/hl prompts · ^t details · ↵ rewind · esc back"],
        &[],
        None,
    ),
    ("codex", "approval-down", CODEX_ASKS, CODEX_TEXT, CODEX, Some(2)),
    (
        "codex",
        "firstrun",
        "Welcome to Codex, OpenAI's command-line coding agent",
        &["Choose how you want to use Codex."],
        CODEX_LOGIN,
        Some(1),
    ),
    (
        "codex",
        "firstrun-2",
        "Welcome to Codex, OpenAI's command-line coding agent",
        &[],
        CODEX_LOGIN,
        Some(3),
    ),
    (
        "codex",
        "limit-warning",
        "Approaching rate limits",
        &["Switch to gpt-6-luna for lower credit usage?"],
        &["Switch to gpt-6-luna", "Keep current model", "Keep current model (never show again)"],
        Some(1),
    ),
    (
        "codex",
        "resume-menu resume-menu-down resume-picker",
        "Resume a previous session",
        &[],
        CODEX_TALK,
        Some(1),
    ),
    ("continue", "approval approval-2", "Bash(touch stub_was_here)", CONTINUE_TEXT, CONTINUE, Some(1)),
    ("continue", "approval", "Bash(echo tool-was-run > tool.txt)", &[CONTINUE_TEXT[1]], CONTINUE, Some(1)),
    (
        "continue",
        "rewind",
        "Edit Message (Rewind Conversation)",
        &["Select a message to edit:"],
        &["Message 1: second beta"],
        Some(1),
    ),
    ("continue", "approval-down", "Bash(touch stub_was_here)", CONTINUE_TEXT, CONTINUE, Some(2)),
    ("continue", "firstrun firstrun-2", "To get started, enter your Anthropic API key.", &[], &[], None),
    ("continue", "resume-menu resume-menu-down", "Sessions", &[], &["The two numbers…"], Some(1)),
    ("copilot", "approval approval-2", "stub tool call", COPILOT_TEXT, COPILOT, Some(1)),
    ("copilot", "approval", "writes a file", &[ECHO, COPILOT_TEXT[1]], &[COPILOT[0], COPILOT[2]], Some(1)),
    ("copilot", "approval-down", "stub tool call", COPILOT_TEXT, COPILOT, Some(2)),
    (
        "copilot",
        "escesc-idle-rewind",
        "Rewind to a previous point",
        &[],
        &[
            "retry this ERR429F",
            "retry this ERR500F",
            "retry this ERR400F",
            "retry this ERR401F",
            "say hello SLOW1",
        ],
        Some(5),
    ),
    (
        "copilot",
        "err401-esc",
        "Rewind to a previous point",
        &[],
        &["retry this ERR401F", "TOOLRUN again"],
        Some(10),
    ),
    (
        "copilot",
        "err500-esc",
        "Rewind to a previous point",
        &[],
        &["retry this ERR500F", "TOOLRUN again"],
        Some(10),
    ),
    (
        "copilot",
        "firstrun firstrun-2",
        "Confirm folder trust",
        &["Do you trust the files in this folder?"],
        &["Yes", "Yes, and remember this folder for future sessions", "No (Esc)"],
        Some(1),
    ),
    (
        "copilot",
        "resume-menu resume-menu-down",
        "Sessions",
        &[],
        &["fix the first point then the sec…"],
        Some(1),
    ),
    ("gemini", "approval approval-2 old-blocked", "Shell  touch stub_was_here", GEMINI_TEXT, GEMINI, Some(1)),
    ("gemini", "approval", "Shell  echo tool-was-run > tool.txt", &[ECHO, GEMINI_TEXT[1]], GEMINI, Some(1)),
    (
        "gemini",
        "firstrun",
        "Do you trust the files in this folder?",
        &[],
        &["Trust folder (proj)", "Trust parent folder (muxxxxxxx)", "Don't trust"],
        Some(1),
    ),
    (
        "gemini",
        "rewind",
        "Rewind",
        &[],
        &["<session_context>", "second beta", "Stay at current position"],
        Some(3),
    ),
    ("gemini", "approval-down", "Shell  touch stub_was_here", GEMINI_TEXT, GEMINI, Some(2)),
    (
        "gemini",
        "auth-menu",
        "Get started",
        &["How would you like to authenticate for this project?"],
        GEMINI_LOGIN,
        Some(1),
    ),
    ("gemini", "firstrun-2", "Get started", &[], GEMINI_LOGIN, Some(2)),
    (
        "gemini",
        "firstrun",
        "Do you trust the files in this folder?",
        &["of the CLI."],
        &["Trust folder (proj)", "Trust parent folder (dev)", "Don't trust"],
        Some(1),
    ),
    (
        "gemini",
        "resume-menu resume-menu-down",
        "Chat Sessions (1 total)",
        &[],
        &["fix the first point then the second one and the third"],
        Some(1),
    ),
    // Which one is selected stands in its colours alone, and these have none.
    (
        "opencode",
        "approval approval-2 approval-down old-blocked",
        "Permission required",
        OPENCODE_TEXT,
        OPENCODE,
        None,
    ),
    (
        "opencode",
        "approval",
        "Permission required",
        &[OPENCODE_TEXT[0], "$ echo tool-was-run > tool.txt"],
        OPENCODE,
        Some(1),
    ),
    ("opencode", "permission", "Permission required", OPENCODE_TEXT, OPENCODE, Some(1)),
    ("opencode", "permission-right", "Permission required", OPENCODE_TEXT, OPENCODE, Some(2)),
    ("opencode", "connect", "Connect a provider", &[], &["Stub", "Other Custom provider"], Some(1)),
    (
        "opencode",
        "firstrun-2",
        "Connect a provider",
        &[],
        &["OpenCode Zen (Recommended)", "OpenCode Go Low cost subscription for everyone"],
        None,
    ),
    (
        "opencode",
        "resume-menu resume-menu-down",
        "Sessions",
        &[],
        &["The two numbers add up to four, and the check in the test fi…"],
        None,
    ),
    (
        "opencode",
        "sessions",
        "Sessions",
        &[],
        &["STUBREPLY ok. lines=1 chars=14 Done with the canned answer n…"],
        Some(1),
    ),
    ("qwen", "approval approval-2 old-blocked", QWEN_ASKS, QWEN_TEXT, QWEN, Some(1)),
    (
        "qwen",
        "approval",
        "Shell echo tool-was-run > tool.txt (writes a file)",
        &[ECHO, "Allow execution of: 'echo'?"],
        &[
            "Yes, allow once",
            "Always allow run 'echo *' commands in this project",
            "Always allow run 'echo *' commands for this user",
            "No, suggest changes (esc)",
        ],
        Some(1),
    ),
    ("qwen", "approval-down", QWEN_ASKS, QWEN_TEXT, QWEN, Some(2)),
    ("qwen", "firstrun", "Connect a Provider", &[], QWEN_LOGIN, Some(1)),
    // Squeezed into 24 rows its options run into each other.
    ("qwen", "firstrun", "Connect a Provider", &["Custom Provider"], &[], None),
    ("qwen", "firstrun-2", "Connect a Provider", &[], QWEN_LOGIN, Some(2)),
    (
        "qwen",
        "firstrun-3",
        "Third-party Providers · Provider",
        &[],
        &["DeepSeek API Key", "Grok (xAI) API Key"],
        Some(1),
    ),
    (
        "qwen",
        "resume-menu resume-menu-down resume-picker",
        "Resume Session",
        &[],
        &["fix the first point"],
        Some(1),
    ),
];

/// Longer lists are told by their first two.
pub(super) const LONG: &[&str] = &["err401-esc", "err500-esc", "firstrun-2", "firstrun-3"];

/// At other sizes and of other kinds; the whole name is the situation.
pub(super) const DIALOGS: &[Asked] = &[
    ("claude", "claude-approval", "Bash command", CLAUDE_TEXT, CLAUDE, Some(1)),
    (
        "claude",
        "claude-ask",
        "Store",
        &["longer than a day?"],
        &["SQLite", "Redis", "Files", "Type something.", "Chat about this"],
        Some(1),
    ),
    (
        "claude",
        "claude-ask-many",
        "Which store should the new cache use for the entries that live",
        &["longer than a day?"],
        &["SQLite", "Redis", "Files", "Type something"],
        Some(1),
    ),
    (
        "claude",
        "claude-ask-ticked",
        "Which store should the new cache use for the entries that live",
        &[],
        &["SQLite", "Redis", "Files", "Type something"],
        Some(2),
    ),
    (
        "claude",
        "claude-ask-review",
        "Review your answers",
        &["→ Redis"],
        &["Submit answers", "Cancel"],
        Some(1),
    ),
    // Its selection stands in a row that is no option.
    ("claude", "claude-ask-submit", "longer than a day?", &["2. [✔] Redis"], &[], None),
    ("codex", "codex-approval", CODEX_ASKS, CODEX_TEXT, CODEX, Some(1)),
    (
        "codex",
        "codex-trust",
        "Folder access",
        &["/home/dev/proj", "trust these files. Your trust decision will be saved."],
        &["Trust and continue", "Back to Agent Command Center"],
        Some(1),
    ),
    ("gemini", "gemini-approval", "Shell  touch stub_was_here", GEMINI_TEXT, GEMINI, Some(1)),
    ("opencode", "opencode-always", "Always allow", &["- touch *"], &["Confirm", "Cancel"], Some(1)),
    ("opencode", "opencode-always-right", "Always allow", &["- touch *"], &["Confirm", "Cancel"], Some(2)),
    ("qwen", "qwen-approval", QWEN_ASKS, QWEN_TEXT, QWEN, Some(1)),
    (
        "qwen",
        "qwen-ask",
        "AskUserQuestion Ask user 1 question",
        &["Store", "Which store should the new cache use?"],
        &["SQLite", "Redis", "Type something..."],
        Some(1),
    ),
    (
        "qwen",
        "qwen-ask-ticked",
        "AskUserQuestion Ask user 1 question",
        &["Store"],
        &["SQLite", "Redis", "Type something..."],
        Some(1),
    ),
];
