//! Who a webhook is from.
//!
//! Every provider signs the raw bytes of the body with a secret that both sides know, or at least sends that secret
//! along. Nothing is parsed before the signature was found right; comparisons take the same time wherever they fail.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docket_aggregates::Timestamp;
use hmac::{Hmac, Mac};
use reqwest::header::HeaderMap;
use sha2::Sha256;

use super::Secret;
use super::delivery::header;

/// How far a signed instant may lie from ours: what Standard Webhooks recommends.
const TOLERANCE_MILLIS: i64 = 5 * 60 * 1_000;

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature, or more than one.
    #[error("the webhook is not signed")]
    Missing,
    /// The signature is not that of this body.
    #[error("the webhook's signature is wrong")]
    Wrong,
    /// It was signed too long ago, or in the future: perhaps recorded and sent again.
    #[error("the webhook was signed too long ago or in the future")]
    Stale,
    /// Our own secret is no key.
    #[error("the webhook's secret is not in the provider's form")]
    BadSecret,
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// HMAC-SHA256 of the body in hexadecimal, after a prefix, in the header `name`.
pub fn check_hex(
    headers: &HeaderMap,
    name: &str,
    prefix: &str,
    secret: &Secret,
    body: &[u8],
) -> Result<(), SignatureError> {
    let given = header(headers, name).ok_or(SignatureError::Missing)?;
    let given = given.trim().strip_prefix(prefix).and_then(|digits| hex::decode(digits).ok());
    if secret.trimmed().is_empty() {
        return Err(SignatureError::BadSecret);
    }
    mac(secret.trimmed().as_bytes())
        .chain_update(body)
        .verify_slice(&given.ok_or(SignatureError::Wrong)?)
        .map_err(|_| SignatureError::Wrong)
}

/// Standard Webhooks 1.0 (which Svix, and so Resend, speaks): `v1,` and the HMAC-SHA256 of id, time and body. The
/// headers are named `webhook-…` or `svix-…`. Answers the webhook's id.
pub fn check_standard(
    headers: &HeaderMap,
    secret: &Secret,
    body: &[u8],
    now: Timestamp,
) -> Result<String, SignatureError> {
    let field = |name: &str| {
        header(headers, &format!("webhook-{name}")).or_else(|| header(headers, &format!("svix-{name}")))
    };
    let (Some(id), Some(at), Some(given)) = (field("id"), field("timestamp"), field("signature")) else {
        return Err(SignatureError::Missing);
    };
    let key = secret.expose().trim();
    let key =
        STANDARD.decode(key.strip_prefix("whsec_").unwrap_or(key)).map_err(|_| SignatureError::BadSecret)?;
    if key.is_empty() {
        return Err(SignatureError::BadSecret);
    }
    let signed =
        mac(&key).chain_update(id).chain_update(".").chain_update(at).chain_update(".").chain_update(body);
    let right = given.split_whitespace().take(16).any(|signature| {
        let bytes = signature.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        bytes.is_some_and(|bytes| signed.clone().verify_slice(&bytes).is_ok())
    });
    if !right {
        return Err(SignatureError::Wrong);
    }
    let at = super::delivery::unix_seconds(at).ok_or(SignatureError::Wrong)?;
    if at.millis().abs_diff(now.millis()) > TOLERANCE_MILLIS.unsigned_abs() {
        return Err(SignatureError::Stale);
    }
    Ok(id.to_owned())
}

/// A secret that the provider sends along in a header. It protects from strangers, not from whoever can read along.
pub fn check_shared(headers: &HeaderMap, name: &str, secret: &Secret) -> Result<(), SignatureError> {
    let given = header(headers, name).ok_or(SignatureError::Missing)?;
    if secret.expose().is_empty() {
        return Err(SignatureError::BadSecret);
    }
    if secret.matches(given.as_bytes()) { Ok(()) } else { Err(SignatureError::Wrong) }
}

/// The answer to Meta's question whether the address is ours: the challenge, if the question knows the token.
pub fn hub_challenge(query: &str, verify_token: &Secret) -> Result<String, SignatureError> {
    let url = reqwest::Url::parse(&format!("http://query/?{query}")).map_err(|_| SignatureError::Missing)?;
    let mut found = [None, None, None];
    for (name, value) in url.query_pairs() {
        let place = match &*name {
            "hub.mode" => 0,
            "hub.verify_token" => 1,
            "hub.challenge" => 2,
            _ => continue,
        };
        if found[place].replace(value.into_owned()).is_some() {
            return Err(SignatureError::Missing);
        }
    }
    let [Some(mode), Some(token), Some(challenge)] = found else { return Err(SignatureError::Missing) };
    // It is repeated to whoever asks: nothing but the plain token that Meta sends may come back.
    let plain = (1..=256).contains(&challenge.len())
        && challenge.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if mode != "subscribe"
        || !plain
        || verify_token.expose().is_empty()
        || !verify_token.matches(token.as_bytes())
    {
        return Err(SignatureError::Wrong);
    }
    Ok(challenge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[test]
    fn a_body_is_believed_with_its_own_signature_only() {
        // RFC 4231, test case 2.
        let right = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let body = b"what do ya want for nothing?";
        let check = |fields: &[(&str, &str)], key: &str, body: &[u8]| {
            check_hex(&headers(fields), "x-hub-signature-256", "sha256=", &secret(key), body)
        };
        let name = "x-hub-signature-256";
        assert_eq!(check(&[(name, right)], "Jefe", body), Ok(()));
        assert_eq!(
            check(&[(name, right)], "Jefe\n", body),
            Ok(()),
            "a secret that was pasted with its line break"
        );
        for (fields, key, body, expected) in [
            (vec![], "Jefe", &body[..], SignatureError::Missing),
            (vec![(name, right), (name, right)], "Jefe", body, SignatureError::Missing),
            (vec![(name, right)], "jefe", body, SignatureError::Wrong),
            (vec![(name, right)], "Jefe", b"what do ya want for nothing!", SignatureError::Wrong),
            (vec![(name, &right[7..])], "Jefe", body, SignatureError::Wrong),
            (vec![(name, &right[..40])], "Jefe", body, SignatureError::Wrong),
            (vec![(name, "sha256=zz")], "Jefe", body, SignatureError::Wrong),
            (vec![(name, "")], "Jefe", body, SignatureError::Wrong),
            (vec![(name, right)], "", body, SignatureError::BadSecret),
            (vec![(name, right)], "\n", body, SignatureError::BadSecret),
        ] {
            assert_eq!(check(&fields, key, body), Err(expected), "{fields:?}");
        }
    }

    #[test]
    fn a_standard_webhook_is_believed_while_it_is_fresh() {
        // The example of the Standard Webhooks' libraries.
        let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"test": 2432232314}"#;
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let at = 1_614_265_330;
        let now = Timestamp::from_millis(at * 1_000);
        let fields = |prefix: &str, signature: &str| {
            headers(&[
                (&format!("{prefix}-id"), "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                (&format!("{prefix}-timestamp"), "1614265330"),
                (&format!("{prefix}-signature"), signature),
            ])
        };
        for prefix in ["webhook", "svix"] {
            let id = check_standard(&fields(prefix, signature), &secret(key), body, now);
            assert_eq!(id.as_deref(), Ok("msg_p5jXN8AQM9LWM0D4loKWxJek"));
        }
        let rotated = format!("v1,AAAA v1a,BBBB {signature}");
        assert!(check_standard(&fields("svix", &rotated), &secret(key), body, now).is_ok());
        let later = now.plus_millis(TOLERANCE_MILLIS + 1);
        let earlier = now.plus_millis(-TOLERANCE_MILLIS - 1);
        for (headers, key, body, now, expected) in [
            (headers(&[]), key, &body[..], now, SignatureError::Missing),
            (fields("svix", "v1,AAAA"), key, body, now, SignatureError::Wrong),
            (fields("svix", &signature[3..]), key, body, now, SignatureError::Wrong),
            (fields("svix", signature), key, b"{}", now, SignatureError::Wrong),
            (fields("svix", signature), "whsec_AAAA", body, now, SignatureError::Wrong),
            (fields("svix", signature), "whsec_!", body, now, SignatureError::BadSecret),
            (fields("svix", signature), "", body, now, SignatureError::BadSecret),
            (fields("svix", signature), key, body, later, SignatureError::Stale),
            (fields("svix", signature), key, body, earlier, SignatureError::Stale),
        ] {
            assert_eq!(check_standard(&headers, &secret(key), body, now), Err(expected));
        }
    }

    #[test]
    fn a_challenge_is_answered_to_whoever_knows_the_token() {
        let token = secret("t0ken");
        let asked = |query: &str| hub_challenge(query, &token);
        assert_eq!(
            asked("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=t0ken").as_deref(),
            Ok("1158201444")
        );
        for query in [
            "",
            "hub.mode=subscribe&hub.challenge=1",
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token=other",
            "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=t0ken",
            "hub.mode=subscribe&hub.challenge=<script>&hub.verify_token=t0ken",
            "hub.mode=subscribe&hub.challenge=1&hub.challenge=2&hub.verify_token=t0ken",
        ] {
            assert!(asked(query).is_err(), "{query}");
        }
        assert!(hub_challenge("hub.mode=subscribe&hub.challenge=1&hub.verify_token=", &secret("")).is_err());
    }

    #[test]
    fn a_shared_secret_is_compared_whole() {
        let with = |value: &str| {
            check_shared(&headers(&[("unipile-auth", value)]), "unipile-auth", &secret("s3cret"))
        };
        assert_eq!(with("s3cret"), Ok(()));
        for wrong in ["", "s3cre", "s3crett", "S3CRET"] {
            assert_eq!(with(wrong), Err(SignatureError::Wrong), "{wrong}");
        }
        let none = check_shared(&headers(&[]), "unipile-auth", &secret("s3cret"));
        assert_eq!(none, Err(SignatureError::Missing));
        let unset = check_shared(&headers(&[("unipile-auth", "")]), "unipile-auth", &secret(""));
        assert_eq!(unset, Err(SignatureError::BadSecret));
    }
}
