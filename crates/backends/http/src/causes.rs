//! Finding an error among the causes of another.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;

/// Finds the first error of type `T`: the error itself or one of its causes.
pub fn find_cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    successors(Some(error), |&error| {
        // An I/O error hides the error that it wraps from `source`.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
    .find_map(<dyn StdError>::downcast_ref)
}

/// Whether the TLS library rejected the certificate of the server.
pub fn is_untrusted_certificate(error: &(dyn StdError + 'static)) -> bool {
    matches!(find_cause(error), Some(rustls::Error::InvalidCertificate(_)))
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
