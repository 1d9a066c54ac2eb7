//! Signing mail (DKIM, RFC 6376), relaxed in head and body.
//!
//! The signature is made by `ring`, which the product has anyway, takes the keys that today's tools make (PKCS#8)
//! and does not leak them by its timing. What is signed includes both headers of one-click unsubscribing, as
//! RFC 8058 demands, and whatever else decides what the mail says and who says it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use docket_aggregates::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::channels::Secret;

/// The headers that are signed, if they are there.
const SIGNED: [&str; 14] = [
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "in-reply-to",
    "references",
    "list-id",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
];

/// A private key.
pub enum Key {
    /// RSA with SHA-256.
    Rsa(Box<RsaKeyPair>),
    /// Ed25519 with SHA-256 (RFC 8463).
    Ed25519(Box<Ed25519KeyPair>),
}

/// Why mail cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DkimError {
    /// No key that we know.
    #[error("the DKIM key must be an RSA key of 2048 bits or more, or an Ed25519 key, in PEM")]
    Key,
    /// The mail has no head.
    #[error("the mail has no head to be signed")]
    NoHead,
}

impl Key {
    /// A key in PEM: PKCS#8 (`BEGIN PRIVATE KEY`) or PKCS#1 (`BEGIN RSA PRIVATE KEY`).
    pub fn parse(pem: &Secret) -> Result<Self, DkimError> {
        let der = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| DkimError::Key)?;
        match &der {
            PrivateKeyDer::Pkcs1(der) => {
                RsaKeyPair::from_der(der.secret_pkcs1_der()).map(Box::new).map(Self::Rsa)
            }
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                match RsaKeyPair::from_pkcs8(der) {
                    Ok(pair) => Ok(Self::Rsa(Box::new(pair))),
                    Err(_) => {
                        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Box::new).map(Self::Ed25519)
                    }
                }
            }
            _ => return Err(DkimError::Key),
        }
        .map_err(|_| DkimError::Key)
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "rsa-sha256",
            Self::Ed25519(_) => "ed25519-sha256",
        }
    }

    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, DkimError> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
                    .map_err(|_| DkimError::Key)?;
                Ok(signature)
            }
            // RFC 8463 signs the digest, not the text.
            Self::Ed25519(pair) => Ok(pair.sign(&Sha256::digest(data)).as_ref().to_vec()),
        }
    }
}

/// The mail with its signature in front.
pub fn sign(
    key: &Key,
    domain: &str,
    selector: &str,
    at: Timestamp,
    mail: &[u8],
) -> Result<Vec<u8>, DkimError> {
    let end = mail.windows(4).position(|window| window == b"\r\n\r\n").ok_or(DkimError::NoHead)?;
    let (head, body) = (&mail[..end + 2], &mail[end + 4..]);
    let body_hash = STANDARD.encode(Sha256::digest(relaxed_body(body)));

    let fields = fields(head);
    let mut names = Vec::new();
    let mut signed = Vec::new();
    for name in SIGNED {
        // A name that stands there twice is signed from the bottom up (section 5.4.2).
        for (_, value) in fields.iter().rev().filter(|(found, _)| found == name) {
            names.push(name);
            signed.extend_from_slice(name.as_bytes());
            signed.push(b':');
            signed.extend_from_slice(value);
            signed.extend_from_slice(b"\r\n");
        }
    }
    let unsigned = format!(
        "v=1; a={}; c=relaxed/relaxed; d={domain}; s={selector}; t={};\r\n\th={};\r\n\tbh={body_hash};\r\n\tb=",
        key.algorithm(),
        at.millis().div_euclid(1_000),
        names.join(":\r\n\t "),
    );
    signed.extend_from_slice(b"dkim-signature:");
    signed.extend_from_slice(&relaxed_value(unsigned.as_bytes()));
    let signature = STANDARD.encode(key.sign(&signed)?);
    let folded: Vec<&str> =
        signature.as_bytes().chunks(72).filter_map(|line| std::str::from_utf8(line).ok()).collect();

    let mut out = format!("DKIM-Signature: {unsigned}{}\r\n", folded.join("\r\n\t ")).into_bytes();
    out.extend_from_slice(mail);
    Ok(out)
}

/// Name in lower case and relaxed value of each header, in order.
fn fields(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        match fields.last_mut() {
            Some((_, value)) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                value.extend_from_slice(line)
            }
            _ => {
                if let Some(colon) = line.iter().position(|byte| *byte == b':') {
                    let name = String::from_utf8_lossy(&line[..colon]).trim_end().to_ascii_lowercase();
                    fields.push((name, line[colon + 1..].to_vec()));
                }
            }
        }
    }
    fields.into_iter().map(|(name, value)| (name, relaxed_value(&value))).collect()
}

/// Unfolded, every run of white space one space, none at the ends (section 3.4.2).
fn relaxed_value(value: &[u8]) -> Vec<u8> {
    let words =
        value.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

/// Runs of white space in a line one space, none at its end, no empty lines at the end of all (section 3.4.4).
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    let mut empty = 0;
    let body = body.strip_suffix(b"\r\n").unwrap_or(body);
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let before = out.len();
        let mut space = false;
        let lines_before = empty;
        for byte in line {
            match byte {
                b' ' | b'\t' => space = true,
                byte => {
                    if out.len() == before {
                        // The first thing on this line: the empty lines before it count.
                        for _ in 0..lines_before {
                            out.extend_from_slice(b"\r\n");
                        }
                        empty = 0;
                    }
                    if std::mem::take(&mut space) {
                        out.push(b' ');
                    }
                    out.push(*byte);
                }
            }
        }
        if out.len() == before {
            empty += 1;
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ED25519, KeyPair as _, UnparsedPublicKey};

    #[test]
    fn the_body_is_relaxed_as_the_rfc_shows() {
        for (body, expected) in [
            (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
            ("", ""),
            ("\r\n\r\n", ""),
            ("a", "a\r\n"),
            ("a\r\n\r\n\r\nb\r\n", "a\r\n\r\n\r\nb\r\n"),
            ("\r\n\r\na\r\n", "\r\n\r\na\r\n"),
        ] {
            assert_eq!(String::from_utf8(relaxed_body(body.as_bytes())).unwrap(), expected, "{body:?}");
        }
    }

    #[test]
    fn the_head_is_relaxed_as_the_rfc_shows() {
        let found = fields(b"A: X\r\nB : Y\t\r\n\tZ  \r\n");
        assert_eq!(found, [("a".to_owned(), b"X".to_vec()), ("b".to_owned(), b"Y Z".to_vec())]);
    }

    /// Reads the signature back as a verifier does, and gives what was signed, the signature and the body's hash.
    fn verified(signed: &[u8]) -> (Vec<u8>, Vec<u8>, String, Vec<String>) {
        let end = signed.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let all = fields(&signed[..end + 2]);
        let signature = String::from_utf8(all[0].1.clone()).unwrap();
        let tag = |name: &str| {
            let found = signature.split(';').find_map(|tag| tag.trim().strip_prefix(&format!("{name}=")));
            found.unwrap().replace(' ', "")
        };
        let names: Vec<String> = tag("h").split(':').map(str::to_owned).collect();
        let mut data = Vec::new();
        for name in &names {
            let (_, value) = all.iter().rev().find(|(found, _)| found == name).unwrap();
            data.extend_from_slice(format!("{name}:{}\r\n", String::from_utf8_lossy(value)).as_bytes());
        }
        let bare = &signature[..signature.rfind("; b=").unwrap() + 4];
        data.extend_from_slice(format!("dkim-signature:{bare}").as_bytes());
        (data, STANDARD.decode(tag("b")).unwrap(), tag("bh"), names)
    }

    const MAIL: &[u8] = b"From: Ops <ops@example.com>\r\nTo: ada@example.org\r\nSubject: a long\r\n  subject\r\n\
        Date: Sat, 21 Nov 2026 18:00:00 +0000\r\nMessage-ID: <a@example.com>\r\n\
        List-Unsubscribe: <https://d.example.com/u/t>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
        X-Other: no\r\n\r\nHello  \r\nworld\r\n\r\n";

    #[test]
    fn both_headers_of_one_click_unsubscribing_are_signed() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&pkcs8));
        let key = Key::parse(&Secret::new(pem)).unwrap();
        let Key::Ed25519(pair) = &key else { panic!("an Ed25519 key") };
        let signed =
            sign(&key, "example.com", "s1", Timestamp::from_millis(1_795_284_000_123), MAIL).unwrap();
        assert!(signed.ends_with(MAIL));
        assert!(signed.split(|b| *b == b'\n').all(|line| line.len() < 998));
        let (data, signature, body_hash, names) = verified(&signed);
        UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref())
            .verify(&Sha256::digest(&data), &signature)
            .unwrap();
        assert_eq!(body_hash, STANDARD.encode(Sha256::digest(b"Hello\r\nworld\r\n")));
        for name in ["from", "list-unsubscribe", "list-unsubscribe-post"] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
        assert!(!names.iter().any(|found| found == "x-other"));
    }

    #[test]
    fn a_changed_mail_does_not_verify() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let key = Key::Ed25519(Box::new(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()));
        let signed = sign(&key, "example.com", "s1", Timestamp::from_millis(0), MAIL).unwrap();
        let text = String::from_utf8(signed).unwrap().replace("ada@example.org", "eve@example.org");
        let (data, signature, ..) = verified(text.as_bytes());
        let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
        assert!(public.verify(&Sha256::digest(&data), &signature).is_err());
    }

    #[test]
    fn what_is_no_key_is_none() {
        for text in ["", "re_123", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(matches!(Key::parse(&Secret::new(text.into())), Err(DkimError::Key)), "{text}");
        }
    }
}
