//! Sealed boxes.
//!
//! A box is `0x01 || nonce (24) || commitment (32) || ciphertext and tag`. From the key and the nonce, HKDF-SHA256
//! gives a cipher key and a commitment; the cipher is XChaCha20-Poly1305. The commitment pins the box to one key:
//! without it a box could be made that opens under two keys to two texts. What a box is bound to (whose it is,
//! in which event) is its associated data.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use rand::RngCore;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

const FORMAT: u8 = 1;
const NONCE: usize = 24;
const COMMITMENT: usize = 32;
const TAG: usize = 16;
const HEADER: usize = 1 + NONCE + COMMITMENT;

/// A 256-bit key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The box is damaged, belongs elsewhere, or was sealed with another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed box does not open")]
pub struct DoesNotOpen;

impl Key {
    /// A fresh random key.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        rand::thread_rng().fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// A key from its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key from 32 bytes in base64, as in `DOCKET_MASTER_KEY`.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }

    /// The key in base64, for the key file.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// A key for another purpose, from which this one cannot be told.
    pub fn derive(&self, purpose: &str) -> Self {
        let mut bytes = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(purpose.as_bytes(), &mut bytes)
            .expect("32 bytes are less than HKDF-SHA256 can give");
        Self(bytes)
    }

    /// The bytes, for a MAC.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals `plaintext`, bound to `associated`.
    pub fn seal(&self, plaintext: &[u8], associated: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(HEADER + plaintext.len() + TAG);
        let mut nonce = [0; NONCE];
        rand::thread_rng().fill_bytes(&mut nonce);
        let (cipher, commitment) = self.for_nonce(&nonce);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&commitment);
        sealed.extend_from_slice(plaintext);
        let tag = cipher
            .encrypt_in_place_detached(XNonce::from_slice(&nonce), associated, &mut sealed[HEADER..])
            .expect("a text in memory is shorter than the cipher's 256 GiB");
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Opens what [`Key::seal`] made with the same key and associated data.
    pub fn open(&self, sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
        if sealed.len() < HEADER + TAG || sealed[0] != FORMAT {
            return Err(DoesNotOpen);
        }
        let (header, rest) = sealed.split_at(HEADER);
        let (ciphertext, tag) = rest.split_at(rest.len() - TAG);
        let nonce: &[u8; NONCE] = header[1..=NONCE].try_into().map_err(|_| DoesNotOpen)?;
        let (cipher, commitment) = self.for_nonce(nonce);
        if !bool::from(commitment.ct_eq(&header[1 + NONCE..])) {
            return Err(DoesNotOpen);
        }
        let mut plaintext = ciphertext.to_vec();
        cipher
            .decrypt_in_place_detached(
                XNonce::from_slice(nonce),
                associated,
                &mut plaintext,
                Tag::from_slice(tag),
            )
            .map_err(|_| DoesNotOpen)?;
        Ok(plaintext)
    }

    fn for_nonce(&self, nonce: &[u8; NONCE]) -> (XChaCha20Poly1305, [u8; COMMITMENT]) {
        let mut derived = [0; 32 + COMMITMENT];
        Hkdf::<Sha256>::new(Some(nonce), &self.0)
            .expand(b"docket/1 box", &mut derived)
            .expect("64 bytes are less than HKDF-SHA256 can give");
        let cipher = XChaCha20Poly1305::new(derived[..32].into());
        let mut commitment = [0; COMMITMENT];
        commitment.copy_from_slice(&derived[32..]);
        derived.zeroize();
        (cipher, commitment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_opens_only_with_its_key_and_its_place() {
        let key = Key::random();
        let sealed = key.seal(b"Ada", b"here");
        assert_eq!(key.open(&sealed, b"here").unwrap(), b"Ada");
        assert_eq!(key.open(&sealed, b"there"), Err(DoesNotOpen));
        assert_eq!(Key::random().open(&sealed, b"here"), Err(DoesNotOpen));
    }

    #[test]
    fn no_byte_of_a_box_may_change() {
        let key = Key::random();
        let sealed = key.seal(b"Ada", b"");
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 1;
            assert_eq!(key.open(&damaged, b""), Err(DoesNotOpen), "byte {index}");
            assert_eq!(key.open(&sealed[..index], b""), Err(DoesNotOpen), "first {index}");
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_alike() {
        let key = Key::random();
        assert_ne!(key.seal(b"Ada", b""), key.seal(b"Ada", b""));
    }

    #[test]
    fn derived_keys_differ_by_purpose() {
        let key = Key::random();
        assert_ne!(key.derive("a").bytes(), key.derive("b").bytes());
        assert_ne!(key.derive("a").bytes(), key.bytes());
    }

    #[test]
    fn a_key_survives_its_text_form() {
        let key = Key::random();
        assert_eq!(Key::from_base64(&key.to_base64()).unwrap().bytes(), key.bytes());
        assert!(Key::from_base64("c2hvcnQ=").is_none());
    }
}
