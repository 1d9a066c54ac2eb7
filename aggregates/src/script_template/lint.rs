//! Whether a script can be gone through as it was meant.
//!
//! A script is an interactive path, and a branch whose label matches no answer hides everything below it: such a script
//! is refused, with everything that is wrong with it at once. What is merely unwise is a warning. Paths are those of
//! the content, such as `steps[2].branches[1].label`.
//!
//! Texts are compared letter by letter: whoever reads them in brings them into Unicode's form NFC before.

mod wording;

use std::collections::{HashMap, HashSet};

use super::{Choice, Node, NodeKind, ScriptContent};
pub(crate) use wording::{Meanings, nearest_name, yes_or_no};
use wording::{admin_text, invisible};

/// Nodes of a script, at most.
pub const NODES_MAX: usize = 500;
/// Steps within branches within steps, at most; a script without branches has depth 1.
pub const DEPTH_MAX: usize = 20;
/// Bytes of all steps as JSON, at most.
pub const BYTES_MAX: usize = 256 << 10;
/// Characters of a text, at most.
pub const TEXT_MAX: usize = 4_000;
/// Characters of an option's value or label, at most.
pub const OPTION_MAX: usize = 200;
/// Options of a `select`, at most.
pub const OPTIONS_MAX: usize = 100;
/// Characters of a name, at most.
pub const NAME_MAX: usize = 200;
/// Characters of a description, at most.
pub const DESCRIPTION_MAX: usize = 2_000;
/// The two answers of a `yesno`.
pub const YES_NO: [&str; 2] = ["Oui", "Non"];

/// Findings that are told of one call, at most; a script that is no script would have as many as it has letters.
const FINDINGS_MAX: usize = 500;
/// Labels of one call for which is looked what was meant, at most: each is compared with all options of its node.
const MEANT_MAX: usize = 100;
/// Names with a meaning of their own in the languages that read answers by node id.
const RESERVED: [&str; 3] = ["__proto__", "constructor", "prototype"];

/// Something about a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A name for machines.
    pub code: &'static str,
    /// Where, within the content.
    pub path: String,
    /// One sentence for people, which tells how to put it right.
    pub message: String,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lint {
    /// With any of these the script is refused.
    pub errors: Vec<Finding>,
    /// What its author should know.
    pub warnings: Vec<Finding>,
}

/// How much is told of the scripts that come with one call: they share it, so that many cost no more than one.
#[derive(Debug)]
pub struct Room {
    errors: usize,
    warnings: usize,
    meant: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { errors: FINDINGS_MAX, warnings: FINDINGS_MAX, meant: MEANT_MAX }
    }
}

/// Looks at all of a script.
pub fn lint(content: &ScriptContent) -> Lint {
    lint_within(content, &mut Room::default())
}

/// Looks at a script as far as there is room to tell of it. One that breaks a rule has an error in any case.
pub fn lint_within(content: &ScriptContent, room: &mut Room) -> Lint {
    let mut linter = Linter { found: Lint::default(), ids: HashMap::new(), nodes: 0, room };
    linter.head(content);
    if content.steps.is_empty() {
        linter.error("steps", "NO_STEPS", "a script has at least one step".into());
    }
    linter.steps(&content.steps, "steps", 1);
    if linter.nodes > NODES_MAX {
        let message = format!("a script has at most {NODES_MAX} nodes, this one has {}", linter.nodes);
        linter.error("steps", "TOO_MANY_NODES", message);
    }
    let bytes = serde_json::to_vec(&content.steps).map_or(usize::MAX, |json| json.len());
    if bytes > BYTES_MAX {
        let message = format!("the steps have at most {BYTES_MAX} bytes of JSON, these have {bytes}");
        linter.error("steps", "TOO_LARGE", message);
    }
    linter.found
}

struct Linter<'a> {
    found: Lint,
    /// Where each node id was first used.
    ids: HashMap<&'a str, String>,
    nodes: usize,
    room: &'a mut Room,
}

impl<'a> Linter<'a> {
    fn error(&mut self, path: &str, code: &'static str, message: String) {
        let (errors, room) = (&mut self.found.errors, &mut self.room.errors);
        if errors.is_empty() || *room > 0 {
            *room = room.saturating_sub(1);
            errors.push(Finding { code, path: path.to_owned(), message });
        }
    }

    fn warn(&mut self, path: &str, code: &'static str, message: String) {
        if self.room.warnings > 0 {
            self.room.warnings -= 1;
            self.found.warnings.push(Finding { code, path: path.to_owned(), message });
        }
    }

    /// Whether the script is refused and there is no room to say more of it.
    fn full(&self) -> bool {
        self.room.errors == 0 && !self.found.errors.is_empty()
    }

    fn head(&mut self, content: &ScriptContent) {
        if blank(&content.name) {
            self.error("name", "EMPTY_TEXT", "a script has a name".into());
        }
        self.length("name", &content.name, NAME_MAX);
        self.length("description", content.description.as_deref().unwrap_or_default(), DESCRIPTION_MAX);
        if !is_language(&content.language) {
            let message = "must be a BCP 47 language tag such as fr or en-GB".into();
            self.error("language", "INVALID_LANGUAGE", message);
        }
    }

    fn steps(&mut self, steps: &'a [Node], path: &str, depth: usize) {
        if depth > DEPTH_MAX && !steps.is_empty() {
            let message = format!("steps stand at most {DEPTH_MAX} levels deep; split the script");
            self.error(path, "TOO_DEEP", message);
            return;
        }
        for (index, node) in steps.iter().enumerate() {
            self.nodes += 1;
            // What is beyond the limit is counted and not looked at.
            let path = format!("{path}[{index}]");
            if self.nodes <= NODES_MAX && !self.full() {
                self.node(node, &path);
            }
            for (nth, branch) in node.branches.iter().enumerate() {
                self.steps(&branch.steps, &format!("{path}.branches[{nth}].steps"), depth + 1);
            }
        }
    }

    fn node(&mut self, node: &'a Node, path: &str) {
        self.id(&node.id, path);
        self.text(node, path);
        match node.kind {
            NodeKind::Instruction => {
                if node.required {
                    let message =
                        "an instruction is read and not answered; use question for an answer".into();
                    self.error(&format!("{path}.required"), "ANSWER_NOT_ALLOWED", message);
                }
                self.no_options(node, path, "an instruction has no options");
                self.no_branches(
                    node,
                    path,
                    "an instruction has no branches; use yesno or select for a choice",
                );
            }
            NodeKind::Question => {
                self.no_options(node, path, "a question has a free answer; use select for options");
                self.no_branches(node, path, "a question has no branches; use yesno or select for a choice");
            }
            NodeKind::Yesno => {
                self.no_options(node, path, "a yesno has the options Oui and Non by itself");
                self.branches(node, path, &YES_NO.map(|label| Choice::new(label, None)));
            }
            NodeKind::Select => {
                self.options(node, path);
                self.branches(node, path, &node.options);
            }
        }
    }

    fn id(&mut self, id: &'a str, path: &str) {
        let path = format!("{path}.id");
        if !is_node_id(id) {
            let message = "must be 1 to 64 small letters, digits, - or _".into();
            self.error(&path, "INVALID_NODE_ID", message);
        } else if RESERVED.contains(&id) {
            self.error(
                &path,
                "RESERVED_NODE_ID",
                format!("{id} has a meaning of its own; choose another id"),
            );
        }
        if let Some(first) = self.ids.get(id) {
            let message = format!(
                "{first} has the id {:?} too; ids are unique in all branches together",
                shortened(id)
            );
            self.error(&path, "DUPLICATE_NODE_ID", message);
        } else {
            self.ids.insert(id, path);
        }
    }

    fn text(&mut self, node: &Node, path: &str) {
        let path = format!("{path}.text");
        if blank(&node.text) {
            self.error(&path, "EMPTY_TEXT", "a step says something".into());
        }
        self.length(&path, &node.text, TEXT_MAX);
        self.reminder(&path, &node.text);
        if node.text.chars().any(invisible) {
            self.warn(&path, "INVISIBLE_CHARACTER", "the text has characters that nobody sees".into());
        }
    }

    /// Whatever the caller reads out or chooses from is part of the call.
    fn reminder(&mut self, path: &str, text: &str) {
        if let Some(phrase) = admin_text(text) {
            let message = format!(
                "{phrase:?} is a reminder to the team and no text of a call; capture the data with a qualification template"
            );
            self.warn(path, "ADMIN_TEXT_IN_SCRIPT", message);
        }
    }

    fn options(&mut self, node: &Node, path: &str) {
        if node.options.is_empty() {
            let message = "a select declares the options that it can be answered with".into();
            self.error(&format!("{path}.options"), "OPTIONS_MISSING", message);
        }
        if node.options.len() > OPTIONS_MAX {
            let message = format!("a select has at most {OPTIONS_MAX} options");
            self.error(&format!("{path}.options"), "TOO_MANY_OPTIONS", message);
        }
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (nth, option) in node.options.iter().enumerate().take(OPTIONS_MAX) {
            let path = format!("{path}.options[{nth}]");
            self.answer(&format!("{path}.value"), &option.value);
            // An option without a label shows its value, whose length is told already.
            if option.shown() != option.value {
                self.length(&format!("{path}.label"), option.shown(), OPTION_MAX);
            }
            let read_out = if option.shown() == option.value { "value" } else { "label" };
            self.reminder(&format!("{path}.{read_out}"), option.shown());
            if let Some(first) = first.get(option.value.as_str()) {
                let message = format!("option {first} has the value {:?} too", shortened(&option.value));
                self.error(&format!("{path}.value"), "DUPLICATE_OPTION", message);
            } else {
                first.insert(&option.value, nth);
            }
        }
    }

    /// What an answer is compared with: it must be such that somebody can type it.
    fn answer(&mut self, path: &str, value: &str) {
        if blank(value) {
            self.error(path, "EMPTY_OPTION", "an option has a value".into());
        } else if value.trim() != value {
            let message = format!("has white space around it; write {:?}", shortened(value.trim()));
            self.error(path, "WHITESPACE_AROUND_OPTION", message);
        } else if value.chars().any(invisible) {
            let visible: String = value.chars().filter(|c| !invisible(*c)).collect();
            let message = format!("has characters that nobody sees; write {:?}", shortened(&visible));
            self.error(path, "INVISIBLE_CHARACTER", message);
        }
        self.length(path, value, OPTION_MAX);
    }

    fn branches(&mut self, node: &Node, path: &str, options: &[Choice]) {
        let declared: HashSet<&str> = options.iter().map(|option| option.value.as_str()).collect();
        let mut meanings = None;
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (nth, branch) in node.branches.iter().enumerate() {
            if self.full() {
                return;
            }
            let path = format!("{path}.branches[{nth}].label");
            let label = branch.label.as_str();
            if !declared.contains(label) {
                let mut meant = if node.kind == NodeKind::Yesno { yes_or_no(label) } else { None };
                if meant.is_none() && self.room.meant > 0 {
                    self.room.meant -= 1;
                    meant = meanings.get_or_insert_with(|| Meanings::of(options)).nearest(label);
                }
                let what = if node.kind == NodeKind::Yesno { "Oui and Non" } else { "the options declared" };
                let label = shortened(label);
                let message = match meant {
                    Some(meant) => format!("{label:?} is none of {what}; did you mean {meant:?}?"),
                    None => format!("{label:?} is none of {what}"),
                };
                self.error(&path, "BRANCH_LABEL_UNMATCHED", message);
            }
            if let Some(first) = first.get(label) {
                let message = format!("branch {first} has the label {:?} too", shortened(label));
                self.error(&path, "DUPLICATE_BRANCH_LABEL", message);
            } else {
                first.insert(label, nth);
            }
        }
    }

    fn no_options(&mut self, node: &Node, path: &str, message: &str) {
        if !node.options.is_empty() {
            self.error(&format!("{path}.options"), "OPTIONS_NOT_ALLOWED", message.into());
        }
    }

    fn no_branches(&mut self, node: &Node, path: &str, message: &str) {
        if !node.branches.is_empty() {
            self.error(&format!("{path}.branches"), "BRANCHES_NOT_ALLOWED", message.into());
        }
    }

    fn length(&mut self, path: &str, text: &str, max: usize) {
        if text.chars().nth(max).is_some() {
            self.error(path, "TOO_LONG", format!("must have at most {max} characters"));
        }
    }
}

/// Nothing that can be seen.
fn blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || invisible(c))
}

/// Enough of a text to recognise it by.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn is_node_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
}

/// The shape of a tag: a language of two or three letters, and subtags of up to eight letters and digits (RFC 5646).
fn is_language(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let primary = subtags.next().unwrap_or_default();
    tag.len() <= 35
        && (2..=3).contains(&primary.len())
        && primary.bytes().all(|byte| byte.is_ascii_alphabetic())
        && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests;
