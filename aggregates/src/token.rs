//! A bearer token: who may do what, until when.
//!
//! The append that records `TokenIssued` also writes the credential, so that access is never decided from a
//! read model.

mod event;

use serde::{Deserialize, Serialize};

pub use event::TokenEvent;

use crate::ids::{AgentId, OrganizationId, PrincipalId, TokenId};
use crate::personal::Personal;
use crate::stored::aggregate;
use crate::time::Timestamp;

/// What a token may do; each role may do all that the ones below it may, except that `auditor` and `viewer`
/// only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Calls the agent tools, in every organization.
    SuperAdmin,
    /// Runs the instance: organizations, hooks, bulk approvals.
    InstanceAdmin,
    /// Runs one company.
    Board,
    /// Works within one company.
    Agent,
    /// Reads everything of one organization.
    Auditor,
    /// Reads the dashboard of one organization.
    Viewer,
}

impl Role {
    /// Every role, the strongest first.
    pub const ALL: [Self; 6] =
        [Self::SuperAdmin, Self::InstanceAdmin, Self::Board, Self::Agent, Self::Auditor, Self::Viewer];

    /// The name used on the command line and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SuperAdmin => "super-admin",
            Self::InstanceAdmin => "instance-admin",
            Self::Board => "board",
            Self::Agent => "agent",
            Self::Auditor => "auditor",
            Self::Viewer => "viewer",
        }
    }

    /// Whether a token of this role must name its organization.
    pub const fn needs_organization(self) -> bool {
        matches!(self, Self::Board | Self::Agent | Self::Auditor | Self::Viewer)
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("role must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Orders to a token.
#[derive(Clone, Debug)]
pub enum TokenCommand {
    /// Issue it.
    Issue {
        /// A fresh id.
        token_id: TokenId,
        /// SHA-256 of the secret, in hexadecimal.
        secret_sha256: String,
        /// Whom it acts for.
        principal_id: PrincipalId,
        /// What it may do.
        role: Role,
        /// The one organization that it may touch.
        organization_id: Option<OrganizationId>,
        /// The caller that it acts as.
        agent_id: Option<AgentId>,
        /// The only tools that it may call; empty means all.
        tools: Vec<String>,
        /// How many contacts one call may affect; none means any number.
        max_affected: Option<u64>,
        /// When it stops working by itself.
        expires_at: Option<Timestamp>,
        /// For whom: `Name <mail>`.
        holder: String,
    },
    /// Take it back.
    Revoke,
}

/// Why a token refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The stream is empty.
    #[error("token does not exist")]
    Unknown,
    /// The id is taken.
    #[error("token already exists")]
    AlreadyIssued,
    /// A role that works within one organization was given none.
    #[error("role {} needs an organization", .0.name())]
    NeedsOrganization(Role),
    /// Limits of agent tools for a role that may call none.
    #[error("role {} calls no agent tools: tools and maxAffected limit those", .0.name())]
    CallsNoTools(Role),
}

/// The state that decisions need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Token {
    issued: bool,
    revoked: bool,
}

aggregate!(Token, "Token", TokenCommand, TokenEvent, TokenError);

impl Token {
    /// The whole business of a token.
    fn decide(&self, command: TokenCommand) -> Result<Vec<TokenEvent>, TokenError> {
        match (command, self.issued) {
            (TokenCommand::Issue { role, organization_id: None, .. }, false) if role.needs_organization() => {
                Err(TokenError::NeedsOrganization(role))
            }
            (TokenCommand::Issue { role, tools, max_affected, .. }, false)
                if role != Role::SuperAdmin && (!tools.is_empty() || max_affected.is_some()) =>
            {
                Err(TokenError::CallsNoTools(role))
            }
            (
                TokenCommand::Issue {
                    token_id,
                    secret_sha256,
                    principal_id,
                    role,
                    organization_id,
                    agent_id,
                    tools,
                    max_affected,
                    expires_at,
                    holder,
                },
                false,
            ) => Ok(vec![TokenEvent::TokenIssued {
                token_id,
                secret_sha256,
                principal_id,
                role,
                organization_id,
                agent_id,
                tools,
                max_affected,
                expires_at,
                holder: Personal::known(principal_id.uuid(), holder),
            }]),
            (TokenCommand::Issue { .. }, true) => Err(TokenError::AlreadyIssued),
            (TokenCommand::Revoke, false) => Err(TokenError::Unknown),
            // Revoking twice is a retry, not a mistake.
            (TokenCommand::Revoke, true) if self.revoked => Ok(vec![]),
            (TokenCommand::Revoke, true) => Ok(vec![TokenEvent::TokenRevoked {}]),
        }
    }

    fn evolve(&mut self, event: TokenEvent) {
        match event {
            TokenEvent::TokenIssued { .. } => self.issued = true,
            TokenEvent::TokenRevoked {} => self.revoked = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    type Given = TestFramework<Token>;

    fn issue(role: Role, organization_id: Option<OrganizationId>) -> TokenCommand {
        TokenCommand::Issue {
            token_id: TokenId(Uuid::from_u128(1)),
            secret_sha256: "ab".into(),
            principal_id: PrincipalId(Uuid::from_u128(2)),
            role,
            organization_id,
            agent_id: None,
            tools: vec![],
            max_affected: None,
            expires_at: None,
            holder: "Ada <ada@example.com>".into(),
        }
    }

    fn issued() -> TokenEvent {
        TokenEvent::TokenIssued {
            token_id: TokenId(Uuid::from_u128(1)),
            secret_sha256: "ab".into(),
            principal_id: PrincipalId(Uuid::from_u128(2)),
            role: Role::SuperAdmin,
            organization_id: None,
            agent_id: None,
            tools: vec![],
            max_affected: None,
            expires_at: None,
            holder: Personal::known(Uuid::from_u128(2), "Ada <ada@example.com>".into()),
        }
    }

    #[test]
    fn a_token_is_issued_once() {
        Given::with(())
            .given_no_previous_events()
            .when(issue(Role::SuperAdmin, None))
            .then_expect_events(vec![issued()]);
        Given::with(())
            .given(vec![issued()])
            .when(issue(Role::SuperAdmin, None))
            .then_expect_error(TokenError::AlreadyIssued);
    }

    #[test]
    fn a_company_role_needs_its_company() {
        for role in [Role::Board, Role::Agent, Role::Auditor, Role::Viewer] {
            Given::with(())
                .given_no_previous_events()
                .when(issue(role, None))
                .then_expect_error(TokenError::NeedsOrganization(role));
        }
    }

    #[test]
    fn only_who_calls_agent_tools_is_limited_to_some() {
        let organization = Some(OrganizationId(Uuid::from_u128(3)));
        for role in Role::ALL {
            for limits in [(vec!["list_campaigns".to_owned()], None), (vec![], Some(3))] {
                let mut limited = issue(role, organization);
                if let TokenCommand::Issue { tools, max_affected, .. } = &mut limited {
                    (*tools, *max_affected) = limits;
                }
                let issued = Token::default().decide(limited);
                let expected = (role != Role::SuperAdmin).then_some(TokenError::CallsNoTools(role));
                assert_eq!(issued.err(), expected);
            }
        }
    }

    #[test]
    fn revoking_twice_is_harmless() {
        Given::with(())
            .given(vec![issued()])
            .when(TokenCommand::Revoke)
            .then_expect_events(vec![TokenEvent::TokenRevoked {}]);
        Given::with(())
            .given(vec![issued(), TokenEvent::TokenRevoked {}])
            .when(TokenCommand::Revoke)
            .then_expect_events(vec![]);
    }

    #[test]
    fn what_was_never_issued_cannot_be_revoked() {
        Given::with(())
            .given_no_previous_events()
            .when(TokenCommand::Revoke)
            .then_expect_error(TokenError::Unknown);
    }
}
