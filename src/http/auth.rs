//! Who calls, and what that role may touch.
//!
//! A role is checked before anything is looked up, and a company before anything of it is: whoever may not enter
//! learns nothing of what is inside. Where a token is limited to one organization, every other one is forbidden
//! to it, whether it exists or not.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use docket_aggregates::ids::OrganizationId;
use docket_aggregates::token::Role;

use crate::app::App;
use crate::credentials::{Caller, Refused};

/// Runs the instance.
pub const ADMINS: &[Role] = &[Role::SuperAdmin, Role::InstanceAdmin];
/// Runs a company.
pub const BOARD: &[Role] = &[Role::SuperAdmin, Role::InstanceAdmin, Role::Board];
/// Works within a company.
pub const WORKERS: &[Role] = &[Role::SuperAdmin, Role::InstanceAdmin, Role::Board, Role::Agent];
/// Works within a company, or looks into it.
pub const STAFF: &[Role] = &[Role::SuperAdmin, Role::InstanceAdmin, Role::Board, Role::Agent, Role::Auditor];
/// Looks into everything of a company.
pub const READERS: &[Role] = &[Role::SuperAdmin, Role::InstanceAdmin, Role::Board, Role::Auditor];

/// Why a caller is turned away before its request is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no `Authorization` header.
    #[error("a bearer token is required")]
    Missing,
    /// The header holds no bearer token, or one that is not accepted.
    #[error("the token is not valid")]
    Invalid,
    /// Tokens cannot be checked at the moment.
    #[error("tokens cannot be checked at the moment")]
    Unavailable,
    /// The role does not allow it.
    #[error("the role {} may not do this", .0.name())]
    Role(Role),
    /// The token is limited to some agent tools, or in what they may affect, and this is none of them.
    #[error("the token is limited to agent tools")]
    ToolScope,
    /// The token is limited to another organization.
    #[error("the token is limited to another organization")]
    OtherOrganization,
}

/// The caller that the `Authorization` header names.
pub async fn bearer(headers: &HeaderMap, app: &App) -> Result<Caller, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let header = values.next().ok_or(AuthError::Missing)?;
    // Two headers are two claims; which one counts is not for us to guess.
    if values.next().is_some() {
        return Err(AuthError::Invalid);
    }
    let token = header.to_str().ok().and_then(token_of).ok_or(AuthError::Invalid)?;
    app.credentials.check(token).await.map_err(|refused| match refused {
        Refused::Invalid => AuthError::Invalid,
        Refused::Unavailable => AuthError::Unavailable,
    })
}

fn token_of(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Whether the caller may do what `roles` may, in this organization if one is meant.
pub fn admit(caller: &Caller, roles: &[Role], organization: Option<OrganizationId>) -> Result<(), AuthError> {
    if !roles.contains(&caller.role) {
        return Err(AuthError::Role(caller.role));
    }
    if caller.is_narrowed() {
        return Err(AuthError::ToolScope);
    }
    match (caller.organization_id, organization) {
        (None, _) => Ok(()),
        (Some(own), Some(wanted)) if own == wanted => Ok(()),
        // A limited token may do nothing that concerns the whole instance.
        (Some(_), _) => Err(AuthError::OtherOrganization),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use docket_aggregates::ids::{PrincipalId, TokenId};
    use uuid::Uuid;

    const OWN: OrganizationId = OrganizationId(Uuid::from_u128(1));
    const OTHER: OrganizationId = OrganizationId(Uuid::from_u128(2));

    fn caller(role: Role, organization_id: Option<OrganizationId>) -> Caller {
        Caller {
            token_id: TokenId(Uuid::from_u128(3)),
            principal_id: PrincipalId(Uuid::from_u128(4)),
            role,
            organization_id,
            agent_id: None,
            tools: vec![],
            max_affected: None,
        }
    }

    #[test]
    fn a_stronger_role_may_do_what_a_weaker_one_may() {
        for (roles, least) in [(ADMINS, Role::InstanceAdmin), (BOARD, Role::Board), (WORKERS, Role::Agent)] {
            let rank = |role: Role| Role::ALL.iter().position(|other| *other == role);
            for role in [Role::SuperAdmin, Role::InstanceAdmin, Role::Board, Role::Agent] {
                assert_eq!(roles.contains(&role), rank(role) <= rank(least), "{}", role.name());
            }
            assert!(!roles.contains(&Role::Auditor) && !roles.contains(&Role::Viewer));
        }
    }

    #[test]
    fn a_limited_token_enters_its_own_organization_only() {
        let limited = |role| caller(role, Some(OWN));
        assert_eq!(admit(&limited(Role::Board), BOARD, Some(OWN)), Ok(()));
        for role in [Role::Board, Role::InstanceAdmin, Role::SuperAdmin] {
            assert_eq!(admit(&limited(role), BOARD, Some(OTHER)), Err(AuthError::OtherOrganization));
        }
        assert_eq!(
            admit(&limited(Role::InstanceAdmin), ADMINS, None),
            Err(AuthError::OtherOrganization),
            "what concerns the instance is not for one organization's administrator"
        );
        assert_eq!(admit(&caller(Role::InstanceAdmin, None), ADMINS, None), Ok(()));
    }

    #[test]
    fn a_token_for_some_tools_opens_no_route() {
        let narrow = Caller { tools: vec!["list_campaigns".into()], ..caller(Role::SuperAdmin, None) };
        assert_eq!(admit(&narrow, BOARD, Some(OWN)), Err(AuthError::ToolScope));
        assert_eq!(admit(&narrow, ADMINS, None), Err(AuthError::ToolScope));
        let narrow = Caller { max_affected: Some(10), ..caller(Role::SuperAdmin, None) };
        assert_eq!(admit(&narrow, BOARD, Some(OWN)), Err(AuthError::ToolScope));
    }

    #[test]
    fn the_role_is_judged_before_the_organization() {
        let viewer = caller(Role::Viewer, Some(OWN));
        assert_eq!(admit(&viewer, BOARD, Some(OTHER)), Err(AuthError::Role(Role::Viewer)));
    }

    #[test]
    fn only_a_bearer_token_is_a_token() {
        for (header, token) in [
            ("Bearer dkt_a_b", Some("dkt_a_b")),
            ("bearer  dkt_a_b ", Some("dkt_a_b")),
            ("Basic dkt_a_b", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("dkt_a_b", None),
            ("", None),
        ] {
            assert_eq!(token_of(header), token, "{header:?}");
        }
    }
}
