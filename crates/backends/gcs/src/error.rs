//! Turning answers of the server, and failures of the network, into errors of the backend.

use std::error::Error as StdError;
use std::time::Duration;

use google_cloud_gax::error::CredentialsError;
use google_cloud_gax::error::rpc::Code;
use http::HeaderMap;
use larder_backend::{Error, ErrorKind, Operation, error_chain, root_causes};
use larder_backend_http::progress::Stalled;
use larder_backend_http::retry::AttemptFailure;
use larder_backend_http::{find_cause, is_untrusted_certificate};
use serde_json::Value;

/// The target of a request, for its errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GcsTarget<'a> {
    pub(crate) operation: Operation,
    /// The URL of the object or of the remote.
    pub(crate) location: &'a str,
    pub(crate) bucket: &'a str,
    /// The URL of the server, if it is not Google's own.
    pub(crate) endpoint: Option<&'a str>,
    /// Whether requests carry no credentials.
    pub(crate) is_anonymous: bool,
}

/// An answer that refuses a request.
#[derive(Debug, Default)]
struct Refusal {
    status: Option<u16>,
    code: Option<Code>,
    /// Google's code for the reason, such as `conditionNotMet`. Empty over gRPC.
    reason: String,
    message: String,
    retry_after: Option<Duration>,
}

impl GcsTarget<'_> {
    /// Reads an error of Google's client.
    pub(crate) fn failure(self, error: &google_cloud_storage::Error) -> AttemptFailure {
        if error.is_authentication() {
            return self.no_credentials(error);
        }
        let status = error.http_status_code();
        let code = error.status().map(|status| status.code);
        if let (None, None) = (status, code) {
            return self.without_answer(error, error.is_timeout());
        }
        let mut refusal = Refusal { code, ..Refusal::default() };
        if let (Some(status), Some(payload)) = (status, error.http_payload()) {
            refusal = Refusal { code, ..Refusal::read(status, payload) };
        }
        refusal.status = status.filter(|status| !(200..300).contains(status));
        if let Some(status) =
            error.status().filter(|status| refusal.message.is_empty() && !status.message.is_empty())
        {
            refusal.message.clone_from(&status.message);
        }
        refusal.retry_after = error.http_headers().and_then(retry_after);
        if refusal.status.is_none() && matches!(code, Some(Code::DeadlineExceeded)) {
            return self.without_answer(error, true);
        }
        self.refused(&refusal)
    }

    /// Reads an answer of the JSON API that refuses a request.
    pub(crate) fn answer(self, status: u16, headers: &HeaderMap, body: &[u8]) -> AttemptFailure {
        let refusal = Refusal { retry_after: retry_after(headers), ..Refusal::read(status, body) };
        self.refused(&refusal)
    }

    fn refused(self, refusal: &Refusal) -> AttemptFailure {
        let kind = refusal.kind(self.operation);
        let mut error = self.error(kind);
        if let Some(hint) = self.hint(kind, refusal) {
            error = error.with_hint(hint);
        }
        if refusal.is_passing() {
            error = error.with_retryable(true);
        }
        let is_uncertain = refusal.is_uncertain();
        AttemptFailure::from(error.with_source(refusal.to_string()))
            .with_retry_after(refusal.retry_after)
            .with_uncertainty(is_uncertain)
    }

    /// The failure of an attempt during which no byte moved for this time.
    pub(crate) fn stalled(self, time: Duration) -> AttemptFailure {
        let error = self.error(ErrorKind::Timeout).with_hint(self.network_hint());
        AttemptFailure::from(error.with_source(Stalled(time))).with_uncertainty(true)
    }

    /// The failure of an attempt without an answer.
    pub(crate) fn without_answer(self, error: &(dyn StdError + 'static), stalled: bool) -> AttemptFailure {
        let kind = if stalled { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        let causes = root_causes(error);
        let hint = if is_untrusted_certificate(error) {
            format!("this machine does not trust the certificate of {}", self.server())
        } else {
            self.network_hint()
        };
        AttemptFailure::from(self.error(kind).with_hint(hint).with_source(causes)).with_uncertainty(true)
    }

    /// The failure of an attempt that got no token.
    pub(crate) fn no_credentials(self, error: &(dyn StdError + 'static)) -> AttemptFailure {
        let may_pass = find_cause::<CredentialsError>(error).is_some_and(CredentialsError::is_transient);
        let status = find_cause::<reqwest::Error>(error).and_then(reqwest::Error::status);
        let hint = if may_pass {
            "the server that gives Google's tokens could not be reached: check the network"
        } else if status.is_some_and(|status| status.is_client_error()) {
            // OAuth 2.0 (RFC 6749, section 5.2) answers 400 or 401 to a refresh token that is expired or revoked.
            "the Google credentials have expired, or are no longer valid: log in again with `gcloud auth \
             application-default login`"
        } else {
            NO_CREDENTIALS
        };
        let failed = self.error(ErrorKind::Unauthenticated).with_hint(hint).with_source(error_chain(error));
        failed.with_retryable(may_pass).into()
    }

    pub(crate) fn error(self, kind: ErrorKind) -> Error {
        Error::new(kind, self.operation, self.location)
    }

    fn server(self) -> String {
        self.endpoint.map_or("Google Cloud Storage".to_owned(), |endpoint| format!("the endpoint {endpoint}"))
    }

    fn network_hint(self) -> String {
        format!("check the network, and {}", self.server())
    }

    /// Tells the user what to do.
    fn hint(self, kind: ErrorKind, refusal: &Refusal) -> Option<String> {
        let bucket = self.bucket;
        Some(match kind {
            ErrorKind::RootMissing if says_no_bucket(&refusal.message) => {
                format!("there is no bucket `{bucket}`: check its name, or create it")
            }
            ErrorKind::RootMissing => format!(
                "{} does not answer as Google Cloud Storage does: check the endpoint",
                self.endpoint.unwrap_or("the server")
            ),
            ErrorKind::Unauthenticated if self.is_anonymous => {
                format!("the bucket `{bucket}` is not public: log in, and remove the option anonymous")
            }
            ErrorKind::Unauthenticated => {
                "Google does not accept these credentials: log in again with `gcloud auth application-default login`, or \
                 check the file that GOOGLE_APPLICATION_CREDENTIALS names"
                    .to_owned()
            }
            ErrorKind::PermissionDenied => {
                let permission = match self.operation {
                    Operation::Stat | Operation::Get => "storage.objects.get",
                    Operation::List => "storage.objects.list",
                    Operation::Delete => "storage.objects.delete",
                    _ => "storage.objects.create",
                };
                format!(
                    "check that the account has the permission {permission} on the bucket `{bucket}`, as the role \
                     roles/storage.objectUser has it; the server may also answer so if the bucket or object is missing"
                )
            }
            ErrorKind::RateLimited => "the server asks for fewer requests: try again later".to_owned(),
            _ => return None,
        })
    }
}

/// The hint for a user without credentials.
pub(crate) const NO_CREDENTIALS: &str = "no Google credentials were found: log in with `gcloud auth application-default \
                                         login`, or set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account; \
                                         for a public bucket use the option anonymous=true";

impl Refusal {
    /// Reads the body of an error: "Error responses" in the reference of the Cloud Storage JSON API.
    fn read(status: u16, body: &[u8]) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let error = &json["error"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut message = text(&error["message"]);
        if message.is_empty() {
            // Some errors are plain text.
            message = String::from_utf8_lossy(body).trim().chars().take(200).collect();
            if message.starts_with(['<', '{']) {
                message.clear();
            }
        }
        Self { status: Some(status), reason: text(&error["errors"][0]["reason"]), message, ..Self::default() }
    }

    fn kind(&self, operation: Operation) -> ErrorKind {
        let writes = matches!(operation, Operation::Put | Operation::Commit);
        let is_condition = self.reason == "conditionNotMet" || self.reason.is_empty();
        if let Some(code) = self.code.filter(|_| self.status.is_none()) {
            return match code {
                Code::NotFound if says_no_bucket(&self.message) => ErrorKind::RootMissing,
                Code::NotFound => ErrorKind::NotFound,
                Code::PermissionDenied => ErrorKind::PermissionDenied,
                Code::Unauthenticated => ErrorKind::Unauthenticated,
                Code::ResourceExhausted => ErrorKind::RateLimited,
                Code::FailedPrecondition | Code::Aborted => ErrorKind::Conflict,
                Code::AlreadyExists => ErrorKind::AlreadyExists,
                Code::InvalidArgument | Code::OutOfRange => ErrorKind::InvalidInput,
                Code::Unimplemented => ErrorKind::RootMissing,
                Code::DataLoss => ErrorKind::Integrity,
                Code::DeadlineExceeded => ErrorKind::Timeout,
                Code::Unavailable | Code::Internal | Code::Unknown => ErrorKind::Unavailable,
                Code::Cancelled if !writes => ErrorKind::Unavailable,
                _ => ErrorKind::Other,
            };
        }
        match self.status.unwrap_or_default() {
            400 if says_wrong_checksum(&self.message) => ErrorKind::Integrity,
            400 => ErrorKind::InvalidInput,
            401 => ErrorKind::Unauthenticated,
            403 if self.reason.ends_with("RateLimitExceeded") || self.reason == "rateLimitExceeded" => {
                ErrorKind::RateLimited
            }
            403 if self.reason == "quotaExceeded" => ErrorKind::NoSpace,
            403 => ErrorKind::PermissionDenied,
            404 if says_no_bucket(&self.message) => ErrorKind::RootMissing,
            // A request that does not write misses an object. A request that writes misses its session.
            404 if !writes => ErrorKind::NotFound,
            404 | 405 if self.reason.is_empty() => ErrorKind::RootMissing,
            // A request that writes had the condition that nothing exists. A request that reads named a generation.
            412 if writes && is_condition => ErrorKind::AlreadyExists,
            404 | 409 | 410 | 412 => ErrorKind::Conflict,
            429 => ErrorKind::RateLimited,
            501 => ErrorKind::Unsupported,
            408 | 500.. => ErrorKind::Unavailable,
            // The server lost the client. To an upload, it says that the session was canceled.
            499 if !writes => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        }
    }

    /// Whether a retry may succeed although the kind of the error does not say so.
    fn is_passing(&self) -> bool {
        // The bytes were damaged on their way.
        self.status == Some(400) && says_wrong_checksum(&self.message)
    }

    /// Whether the server may have done what was asked.
    fn is_uncertain(&self) -> bool {
        match self.status {
            Some(status) => status == 408 || status >= 500,
            None => !matches!(
                self.code,
                Some(Code::ResourceExhausted | Code::Unauthenticated | Code::PermissionDenied)
            ),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.status, self.code) {
            (Some(status), _) => write!(f, "the server answered {status}")?,
            (None, Some(code)) => write!(f, "the server answered {}", code.name())?,
            (None, None) => write!(f, "the server refused")?,
        }
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// Whether the server says that the bucket is missing. A missing bucket and a missing object have the same status and
/// reason, over HTTP and over gRPC, so only the text tells them apart.
fn says_no_bucket(message: &str) -> bool {
    message.contains("bucket does not exist")
}

/// Whether the server says that the bytes have another checksum. Only the text tells this from other bad requests.
fn says_wrong_checksum(message: &str) -> bool {
    message.to_lowercase().contains("crc32c")
}

/// How long the server asks the client to wait, in seconds. (Google sends no dates.)
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(text.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Texts of Google's server.
    const NO_BUCKET: &str = "The specified bucket does not exist.";
    const NO_OBJECT: &str = "No such object: my-team/larder/models%2Fen/c0ffee/f00d";
    const WRONG_CHECKSUM: &str = "Provided CRC32C \"AAAAAA==\" doesn't match calculated CRC32C \"mnG7TA==\".";
    const BAD_REQUEST: &str = "Invalid value for field 'name': 'x'.";

    #[test]
    fn texts_of_the_server_are_recognized() {
        assert!(says_no_bucket(NO_BUCKET) && !says_no_bucket(NO_OBJECT));
        assert!(says_wrong_checksum(WRONG_CHECKSUM) && !says_wrong_checksum(BAD_REQUEST));
        let refusal = |message| Refusal { status: Some(400), message, ..Refusal::default() };
        assert!(refusal(WRONG_CHECKSUM.to_owned()).is_passing());
        assert!(!refusal(BAD_REQUEST.to_owned()).is_passing());
    }

    fn kind(operation: Operation, status: u16, reason: &str, message: &str) -> ErrorKind {
        let body = serde_json::json!({
            "error": { "code": status, "message": message, "errors": [{ "reason": reason }] }
        });
        Refusal::read(status, body.to_string().as_bytes()).kind(operation)
    }

    #[test]
    fn a_failed_precondition_is_exists_only_where_something_is_created() {
        assert_eq!(kind(Operation::Commit, 412, "conditionNotMet", "x"), ErrorKind::AlreadyExists);
        assert_eq!(kind(Operation::Get, 412, "conditionNotMet", "x"), ErrorKind::Conflict);
        assert_eq!(kind(Operation::Commit, 412, "orgPolicyConstraintFailed", "x"), ErrorKind::Conflict);
    }

    #[test]
    fn a_denial_is_never_a_miss() {
        assert_eq!(kind(Operation::Get, 403, "forbidden", "no access"), ErrorKind::PermissionDenied);
        assert_eq!(kind(Operation::Get, 403, "userRateLimitExceeded", "slow down"), ErrorKind::RateLimited);
        assert_eq!(kind(Operation::Get, 404, "notFound", "No such object: b/o"), ErrorKind::NotFound);
        assert_eq!(kind(Operation::Get, 404, "notFound", NO_BUCKET), ErrorKind::RootMissing);
        assert_eq!(kind(Operation::Put, 410, "", "gone"), ErrorKind::Conflict);
    }

    #[test]
    fn an_error_may_be_plain_text() {
        assert_eq!(Refusal::read(503, b"Service Unavailable\n").message, "Service Unavailable");
        assert_eq!(Refusal::read(503, b"<html>").message, "");
    }
}
