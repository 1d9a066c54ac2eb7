//! Whom we trust: the system's roots, and those that the operator adds.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::OpenError;

/// How servers are trusted, for HTTP and SMTP alike.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The settings of a client.
    pub client: ClientConfig,
    /// The roots beside the system's, as they are.
    pub extra: Vec<CertificateDer<'static>>,
}

/// TLS as a client, with the cryptography of `ring` that the rest of the product uses.
pub fn client(extra: &[CertificateDer<'static>]) -> Result<Trust, rustls::Error> {
    let mut roots = RootCertStore::empty();
    // A system without roots, or with a damaged one among them, is not an error yet: the first handshake will say so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in extra {
        roots.add(root.clone())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Trust { client, extra: extra.to_vec() })
}

/// The certificates of a PEM file.
pub fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let pem = std::fs::read(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match roots {
        Ok(roots) if !roots.is_empty() => Ok(roots),
        _ => Err(OpenError::NoCertificate(path.to_owned())),
    }
}
