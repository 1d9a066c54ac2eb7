//! A tool as its own file declares it: its name, its function, what it risks, and inputs that work.
//!
//! `tool!` takes the tool's name from the function's, and the types of the function's input and answer become the schemas:
//! nothing is said twice. What a draft does not say has the careful default.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::context::ToolContext;
use super::example::Example;
use super::plan::{Mint, Plan};
use super::refusal::{FieldError, Refusal, ToolResult};
use super::schema::{self, InputSchema};
use crate::aside;
use crate::json;

type Running<T> = Pin<Box<dyn Future<Output = ToolResult<T>> + Send>>;
pub(super) type ReadFn = Box<dyn Fn(ToolContext, Value) -> Running<Value> + Send + Sync>;
pub(super) type PlanFn = Box<dyn Fn(ToolContext, Value, Mint) -> Running<Plan<Value>> + Send + Sync>;

/// Looks at as much of an input as can be read, although its schema refuses it: whoever writes a script is told of
/// everything at once.
pub(super) type Authoring = fn(&Value) -> Vec<FieldError>;

/// What a tool does when it is called.
pub(super) enum Run {
    /// Answers.
    Read(ReadFn),
    /// Plans a change.
    Plan(PlanFn),
}

/// What can go wrong when an agent is mistaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Changes nothing.
    Read,
    /// Changes one thing.
    Write,
    /// Changes many things.
    BulkWrite,
    /// Takes something away.
    Destructive,
}

/// Whether applying needs `confirm: true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// No.
    Never,
    /// Yes.
    Always,
    /// If this input field is given.
    With(&'static str),
}

/// A tool as its file declares it.
pub(super) struct Draft {
    pub(super) name: &'static str,
    pub(super) risk: Risk,
    pub(super) scoped: bool,
    pub(super) pages: bool,
    pub(super) confirm: Confirm,
    pub(super) repeatable: bool,
    pub(super) adds: bool,
    pub(super) whole: bool,
    pub(super) levels: usize,
    pub(super) open_world: bool,
    pub(super) heavy: bool,
    pub(super) examples: Vec<Example>,
    pub(super) authoring: Option<Authoring>,
    pub(super) input: fn(Map<String, Value>) -> Result<InputSchema, String>,
    pub(super) output: fn() -> Value,
    pub(super) run: Run,
}

impl Draft {
    fn new<I: JsonSchema, O: JsonSchema>(name: &'static str, risk: Risk, run: Run) -> Self {
        Self {
            name,
            risk,
            scoped: true,
            pages: false,
            confirm: Confirm::Never,
            repeatable: risk == Risk::Read,
            adds: false,
            whole: false,
            levels: json::DEPTH_MAX,
            open_world: false,
            heavy: false,
            examples: Vec::new(),
            authoring: None,
            input: InputSchema::new::<I>,
            output: schema::output::<O>,
            run,
        }
    }

    /// A tool that only reads.
    pub(super) fn read<I, O, F, Fut>(name: &'static str, run: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + 'static,
        O: Serialize + JsonSchema,
        F: Fn(ToolContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ToolResult<O>> + Send + 'static,
    {
        let run: ReadFn = Box::new(move |context, input| match parsed::<I>(input) {
            Ok(input) => {
                let running = run(context, input);
                Box::pin(async move { written(&running.await?) })
            }
            Err(refusal) => Box::pin(async move { Err(refusal) }),
        });
        Self::new::<I, O>(name, Risk::Read, Run::Read(run))
    }

    /// A tool that reads a list page by page.
    pub(super) fn list<I, O, F, Fut>(name: &'static str, run: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + 'static,
        O: Serialize + JsonSchema,
        F: Fn(ToolContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ToolResult<O>> + Send + 'static,
    {
        Self { pages: true, ..Self::read(name, run) }
    }

    /// A tool that changes something.
    pub(super) fn change<I, O, F, Fut>(risk: Risk, name: &'static str, run: F) -> Self
    where
        I: DeserializeOwned + JsonSchema + 'static,
        O: Serialize + JsonSchema,
        F: Fn(ToolContext, I, Mint) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ToolResult<Plan<O>>> + Send + 'static,
    {
        let run: PlanFn = Box::new(move |context, input, mint| match parsed::<I>(input) {
            Ok(input) => {
                let running = run(context, input, mint);
                Box::pin(async move {
                    let plan = running.await?;
                    let answer = written(&plan.answer)?;
                    Ok(plan.answering(|_| answer))
                })
            }
            Err(refusal) => Box::pin(async move { Err(refusal) }),
        });
        Self::new::<I, O>(name, risk, Run::Plan(run))
    }

    /// It looks at every organization and takes no `organizationId`.
    pub(super) fn unscoped(self) -> Self {
        Self { scoped: false, ..self }
    }

    /// Applying needs `confirm: true`.
    pub(super) fn confirmed(self, confirm: Confirm) -> Self {
        Self { confirm, ..self }
    }

    /// Applying twice changes no more than applying once, whatever the input: a client may repeat it by itself.
    pub(super) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    /// It only adds: whatever was there before stays as it is.
    pub(super) fn adding(self) -> Self {
        Self { adds: true, ..self }
    }

    /// Its texts and lists are never shortened: they are there to be sent back, or to be held against what is sent.
    pub(super) fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    /// Its body may be nested so deep.
    pub(super) fn levels(self, levels: usize) -> Self {
        Self { levels, ..self }
    }

    /// What else is wrong with an input that the schema refuses.
    pub(super) fn authored(self, authoring: Authoring) -> Self {
        Self { authoring: Some(authoring), ..self }
    }

    /// What it is sent may take long to judge: others go on meanwhile.
    pub(super) fn heavy(self) -> Self {
        let run = match self.run {
            Run::Plan(run) => {
                let run = Arc::new(run);
                Run::Plan(Box::new(move |context, input, mint| {
                    let run = run.clone();
                    // Reading the input is part of what takes long.
                    let organization = context.organization();
                    Box::pin(aside::run(organization, async move { run(context, input, mint).await }))
                }))
            }
            read @ Run::Read(_) => read,
        };
        Self { heavy: true, run, ..self }
    }

    /// It may reach services beyond Docket.
    #[allow(dead_code, reason = "no tool of this version does")]
    pub(super) fn open_world(self) -> Self {
        Self { open_world: true, ..self }
    }

    /// An input that works in any organization, once `CAMPAIGN_ID` and its like are filled in.
    pub(super) fn example(mut self, title: &'static str, input: Value) -> Self {
        self.examples.push(Example { title, input, needs: None });
        self
    }
}

fn parsed<I: DeserializeOwned>(input: Value) -> ToolResult<I> {
    // The schema has seen the input; what it cannot say (an instant beyond the year 9999) is said here.
    serde_json::from_value(input).map_err(|error| Refusal::field("", "INVALID", error.to_string()))
}

fn written<O: Serialize>(answer: &O) -> ToolResult<Value> {
    serde_json::to_value(answer).map_err(|error| Refusal::Defect(error.to_string()))
}

/// `tool!(read get_campaign)`: the function's name is the tool's name.
macro_rules! tool {
    (read $run:ident) => {
        $crate::tools::Draft::read(stringify!($run), $run)
    };
    (list $run:ident) => {
        $crate::tools::Draft::list(stringify!($run), $run)
    };
    ($risk:ident $run:ident) => {
        $crate::tools::Draft::change($crate::tools::Risk::$risk, stringify!($run), $run)
    };
}
pub(super) use tool;
