//! What a token's allowance looks like in headers: `RateLimit-Policy` and `RateLimit` of the IETF draft.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::Allowance;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Tells the client what it has left.
pub fn tell(headers: &mut HeaderMap, allowance: &Allowance) {
    for (name, value) in [(POLICY, allowance.rate.policy()), (LIMIT, allowance.header())] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}
