//! A caller (an outbound agent, human or AI) that campaign contacts are assigned to.

mod event;

use serde::{Deserialize, Serialize};

pub use event::{AgentEvent, AgentProfile};

use crate::ids::AgentId;
use crate::personal::Personal;
use crate::stored::aggregate;

/// Orders to a caller.
#[derive(Clone, Debug)]
pub enum AgentCommand {
    /// Register it.
    Register {
        /// A fresh id.
        agent_id: AgentId,
        /// Name, address and role.
        profile: AgentProfile,
        /// Whether it takes assignments.
        active: bool,
    },
    /// Change what is given, keep the rest.
    Change {
        /// The new name.
        name: Option<String>,
        /// The new address.
        email: Option<String>,
        /// The new role; `Some(None)` clears it.
        role: Option<Option<String>>,
        /// Whether it takes assignments.
        active: Option<bool>,
    },
}

/// Why a caller refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// The stream is empty.
    #[error("agent does not exist")]
    Unknown,
    /// The id is taken.
    #[error("agent already exists")]
    AlreadyRegistered,
    /// Its profile was erased.
    #[error("agent was erased")]
    Erased,
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Agent {
    profile: Option<Personal<AgentProfile>>,
    active: bool,
}

aggregate!(Agent, "Agent", AgentCommand, AgentEvent, AgentError);

impl Agent {
    /// The whole business of a caller.
    fn decide(&self, command: AgentCommand) -> Result<Vec<AgentEvent>, AgentError> {
        match (command, &self.profile) {
            (AgentCommand::Register { agent_id, profile, active }, None) => {
                let profile = Personal::known(agent_id.uuid(), profile);
                Ok(vec![AgentEvent::AgentRegistered { agent_id, profile, active }])
            }
            (AgentCommand::Register { .. }, Some(_)) => Err(AgentError::AlreadyRegistered),
            (AgentCommand::Change { .. }, None) => Err(AgentError::Unknown),
            (AgentCommand::Change { name, email, role, active }, Some(profile)) => {
                let known = profile.value().ok_or(AgentError::Erased)?;
                let wanted = AgentProfile {
                    name: name.unwrap_or_else(|| known.name.clone()),
                    email: email.unwrap_or_else(|| known.email.clone()),
                    role: role.unwrap_or_else(|| known.role.clone()),
                };
                let mut events = Vec::new();
                if wanted != *known {
                    let profile = Personal::known(profile.subject(), wanted);
                    events.push(AgentEvent::AgentProfileChanged { profile });
                }
                match (active, self.active) {
                    (Some(true), false) => events.push(AgentEvent::AgentActivated {}),
                    (Some(false), true) => events.push(AgentEvent::AgentDeactivated {}),
                    _ => (),
                }
                Ok(events)
            }
        }
    }

    fn evolve(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::AgentRegistered { profile, active, .. } => {
                self.profile = Some(profile);
                self.active = active;
            }
            AgentEvent::AgentProfileChanged { profile } => self.profile = Some(profile),
            AgentEvent::AgentActivated {} => self.active = true,
            AgentEvent::AgentDeactivated {} => self.active = false,
        }
    }

    /// Whether it was registered.
    pub fn exists(&self) -> bool {
        self.profile.is_some()
    }

    /// Whether it takes assignments.
    pub fn active(&self) -> bool {
        self.active
    }

    /// Who it is, while that is known.
    pub fn profile(&self) -> Option<&AgentProfile> {
        self.profile.as_ref().and_then(Personal::value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Agent>;
    const ID: AgentId = AgentId(Uuid::from_u128(1));

    fn profile(name: &str) -> AgentProfile {
        AgentProfile { name: name.into(), email: "ada@example.com".into(), role: Some("caller".into()) }
    }

    fn registered() -> AgentEvent {
        AgentEvent::AgentRegistered {
            agent_id: ID,
            profile: Personal::known(ID.uuid(), profile("Ada")),
            active: true,
        }
    }

    fn change(name: Option<&str>, active: Option<bool>) -> AgentCommand {
        AgentCommand::Change { name: name.map(Into::into), email: None, role: None, active }
    }

    #[test]
    fn an_agent_is_registered_once() {
        let register = || AgentCommand::Register { agent_id: ID, profile: profile("Ada"), active: true };
        Given::with(()).given_no_previous_events().when(register()).then_expect_events(vec![registered()]);
        Given::with(())
            .given(vec![registered()])
            .when(register())
            .then_expect_error(AgentError::AlreadyRegistered);
    }

    #[test]
    fn only_what_differs_is_recorded() {
        Given::with(())
            .given(vec![registered()])
            .when(change(Some("Ada"), Some(true)))
            .then_expect_events(vec![]);
        Given::with(()).given(vec![registered()]).when(change(Some("Bea"), Some(false))).then_expect_events(
            vec![
                AgentEvent::AgentProfileChanged { profile: Personal::known(ID.uuid(), profile("Bea")) },
                AgentEvent::AgentDeactivated {},
            ],
        );
    }

    #[test]
    fn an_unknown_agent_cannot_change() {
        Given::with(())
            .given_no_previous_events()
            .when(change(None, Some(false)))
            .then_expect_error(AgentError::Unknown);
    }
}
