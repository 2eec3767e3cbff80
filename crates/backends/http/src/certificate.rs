//! Certificates that are not trusted.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;

/// Whether the TLS library rejected the certificate of the server.
pub fn is_untrusted_certificate(error: &(dyn StdError + 'static)) -> bool {
    successors(Some(error), |&error| error.source()).any(|error| {
        // An I/O error hides the error that it wraps from `source`.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => is_untrusted_certificate(wrapped),
            None => matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certificates_are() {
        let bad = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(is_untrusted_certificate(&bad()));
        assert!(is_untrusted_certificate(&io::Error::new(io::ErrorKind::InvalidData, bad())));
        assert!(is_untrusted_certificate(&io::Error::other(io::Error::other(bad()))));
        assert!(!is_untrusted_certificate(&rustls::Error::DecryptError));
        assert!(!is_untrusted_certificate(&io::Error::other("invalid peer certificate")));
    }
}
