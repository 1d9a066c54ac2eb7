//! Standard Webhooks 1.0: the secret, and the signature over id, time and body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docket_aggregates::Timestamp;
use hmac::{Hmac, Mac};
use rand::RngCore;
use sha2::Sha256;

use crate::channels::Secret;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret: the specification wants 24 to 64.
const BYTES: usize = 32;

/// A fresh secret in the form in which it is shown once.
pub fn mint() -> Secret {
    let mut bytes = zeroize::Zeroizing::new([0; BYTES]);
    rand::thread_rng().fill_bytes(bytes.as_mut());
    Secret::new(format!("{PREFIX}{}", STANDARD.encode(bytes.as_ref())))
}

/// The header `webhook-signature`: one signature for each secret, the newest first, so that a receiver who still has the
/// old one believes it too.
pub fn signature(secrets: &[Secret], id: &str, at: Timestamp, body: &[u8]) -> Option<String> {
    let seconds = at.millis().div_euclid(1_000);
    let signed = secrets.iter().map(|secret| {
        let key = STANDARD.decode(secret.expose().strip_prefix(PREFIX)?).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    });
    let signed: Option<Vec<String>> = signed.collect();
    signed.filter(|signed| !signed.is_empty()).map(|signed| signed.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specifications_libraries() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into());
        let at = Timestamp::from_millis(1_614_265_330_999);
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(std::slice::from_ref(&secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        let both = signature(&[mint(), secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body).unwrap();
        assert!(both.ends_with(" v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), "{both}");
        assert_eq!(signature(&[], "id", at, body), None);
        assert_eq!(signature(&[Secret::new("whsec_!".into())], "id", at, body), None);
    }

    #[test]
    fn minted_secrets_have_the_form_and_differ() {
        let (one, other) = (mint(), mint());
        assert!(one.expose().starts_with(PREFIX) && one.expose() != other.expose());
        assert_eq!(STANDARD.decode(&one.expose()[PREFIX.len()..]).unwrap().len(), BYTES);
    }
}
