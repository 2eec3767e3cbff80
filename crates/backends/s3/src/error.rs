//! Turning answers of the server, and failures of the network, into errors of the backend.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::date_time::{DateTime, Format};
use larder_backend::{Error, ErrorKind, Operation, error_chain, root_causes};
use larder_backend_http::progress::is_stall;
use larder_backend_http::retry::AttemptFailure;
use larder_backend_http::{find_cause, is_untrusted_certificate};

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct S3Failure {
    pub(crate) error: Error,
    /// The server's error code, or an empty text.
    pub(crate) code: String,
    pub(crate) status: Option<u16>,
    /// How long the server asks the client to wait.
    pub(crate) retry_after: Option<Duration>,
    /// Whether the server may have done what was asked, because its answer was lost.
    pub(crate) is_uncertain: bool,
}

impl S3Failure {
    pub(crate) fn new(error: Error) -> Self {
        Self { error, code: String::new(), status: None, retry_after: None, is_uncertain: false }
    }

    /// Replaces the kind of the error.
    #[must_use]
    pub(crate) fn into_kind(self, kind: ErrorKind, operation: Operation) -> Self {
        let error = Error::new(kind, operation, self.error.location()).with_source(error_chain(&self.error));
        Self { error, ..self }
    }
}

impl From<Error> for S3Failure {
    fn from(error: Error) -> Self {
        Self::new(error)
    }
}

impl From<S3Failure> for AttemptFailure {
    fn from(failure: S3Failure) -> Self {
        let S3Failure { error, retry_after, is_uncertain, .. } = failure;
        Self::from(error).with_retry_after(retry_after).with_uncertainty(is_uncertain)
    }
}

/// The target of a request, for its errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestTarget<'a> {
    pub(crate) operation: Operation,
    /// The URL of the object or of the remote.
    pub(crate) location: &'a str,
    pub(crate) bucket: &'a str,
    /// The URL of the server, if it is not AWS's own.
    pub(crate) endpoint: Option<&'a str>,
    /// The profile that the remote names.
    pub(crate) profile: Option<&'a str>,
}

impl RequestTarget<'_> {
    /// Reads an error of the SDK.
    pub(crate) fn failure<E>(self, error: &SdkError<E, HttpResponse>) -> S3Failure
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let Some(response) = error.raw_response() else { return self.without_answer(error) };
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).map(str::to_owned);
        let retry_after = header("retry-after").and_then(|text| retry_after(&text));
        let bucket_region = header("x-amz-bucket-region");
        // An answer to HEAD has no body. MinIO names the code in a header.
        let code = match error.code() {
            Some(code) if code != "NotFound" => Some(code.to_owned()),
            _ => header("x-minio-error-code"),
        };
        let code = code.unwrap_or_default();
        let message = error.message().map(str::to_owned);
        let request_id = error.request_id().map(str::to_owned);

        if matches!(error, SdkError::ResponseError(_)) || (status < 300 && code.is_empty()) {
            // The answer broke off, or does not come from S3.
            let failed = self.error(ErrorKind::Unavailable).with_source(error_chain(error));
            return S3Failure {
                status: Some(status),
                retry_after,
                is_uncertain: true,
                ..S3Failure::new(failed)
            };
        }
        let mut failed = self.error(kind(status, &code));
        if status == 404 && code.is_empty() && self.operation != Operation::Stat {
            // S3 would name the missing thing.
            failed = self.no_s3();
        } else if let Some(hint) = self.hint(status, &code, bucket_region.as_deref()) {
            failed = failed.with_hint(hint);
        }
        let mut cause = match (code.as_str(), message) {
            ("", None) => format!("the server answered {status}"),
            ("", Some(message)) => format!("the server answered {status}: {message}"),
            (code, None) => format!("the server answered {status} {code}"),
            (code, Some(message)) => format!("the server answered {status} {code}: {message}"),
        };
        if let Some(id) = request_id.filter(|_| status >= 500) {
            cause = format!("{cause} (request {id})");
        }
        // S3 may answer 200 too early, and then describe the failure in the body.
        let is_uncertain = !(300..500).contains(&status) || is_disconnect(status);
        if is_retryable(status, &code) {
            failed = failed.with_retryable(true);
        }
        S3Failure { error: failed.with_source(cause), code, status: Some(status), retry_after, is_uncertain }
    }

    /// The error of a server that does not answer as S3 does.
    pub(crate) fn no_s3(self) -> Error {
        let hint = self.endpoint.map_or("the server does not answer as S3 does".to_owned(), |endpoint| {
            format!("{endpoint} does not answer as S3 does: check the endpoint")
        });
        self.error(ErrorKind::RootMissing).with_hint(hint)
    }

    /// Reads an error in the body of an answer.
    pub(crate) fn broken_body(self, error: &(dyn StdError + 'static)) -> S3Failure {
        let kind = if is_stall(error) { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        S3Failure::new(self.error(kind).with_source(error_chain(error)))
    }

    fn without_answer<E>(self, error: &SdkError<E, HttpResponse>) -> S3Failure
    where
        E: StdError + 'static,
    {
        if let Some(credentials) = find_cause::<CredentialsError>(error) {
            let hint = match self.profile {
                Some(profile) => format!(
                    "the profile `{profile}` gives no AWS credentials: check its name and what ~/.aws/config and \
                     ~/.aws/credentials say of it, or log in with it"
                ),
                None => {
                    "no AWS credentials could be loaded: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                         AWS_PROFILE, or log in; for a public bucket use the option anonymous=true"
                        .to_owned()
                }
            };
            let failed = self.error(ErrorKind::Unauthenticated).with_hint(hint);
            // Credentials are renewed in the middle of an upload, where the network may fail.
            let may_pass = matches!(credentials, CredentialsError::ProviderTimedOut(_));
            return S3Failure::new(failed.with_source(error_chain(credentials)).with_retryable(may_pass));
        }
        let stalled = is_stall(error)
            || match error {
                SdkError::TimeoutError(_) => true,
                SdkError::DispatchFailure(failure) => failure.is_timeout(),
                _ => false,
            };
        let kind = match error {
            _ if stalled => ErrorKind::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_io() => ErrorKind::Unavailable,
            SdkError::ConstructionFailure(_) => ErrorKind::InvalidInput,
            _ => ErrorKind::Unavailable,
        };
        if kind == ErrorKind::InvalidInput {
            return S3Failure::new(self.error(kind).with_source(error_chain(error)));
        }
        let server = self.endpoint.map_or("AWS".to_owned(), |endpoint| format!("the endpoint {endpoint}"));
        let causes = root_causes(error);
        let hint = if is_untrusted_certificate(error) {
            format!("this machine does not trust the certificate of {server}: see AWS_CA_BUNDLE")
        } else {
            format!("check the network, and {server}")
        };
        S3Failure {
            is_uncertain: true,
            ..S3Failure::new(self.error(kind).with_hint(hint).with_source(causes))
        }
    }

    fn error(self, kind: ErrorKind) -> Error {
        Error::new(kind, self.operation, self.location)
    }

    /// Tells the user what to do.
    fn hint(self, status: u16, code: &str, region: Option<&str>) -> Option<String> {
        let bucket = self.bucket;
        Some(match code {
            "NoSuchBucket" => format!("there is no bucket `{bucket}`: check its name and the endpoint, or create it"),
            "InvalidBucketName" => format!("`{bucket}` cannot be the name of a bucket"),
            "AllAccessDisabled" | "AccountProblem" => format!("the owner of the bucket `{bucket}` has to settle this"),
            "RequestTimeTooSkewed" => "the clock of this machine is wrong: set it".to_owned(),
            "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException" => {
                "the session has expired: log in again".to_owned()
            }
            "InvalidAccessKeyId" | "InvalidToken" | "InvalidTokenId" | "InvalidClientTokenId" => {
                "the server does not know these credentials: check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN and the profile, \
                 and that they belong to this endpoint"
                    .to_owned()
            }
            "SignatureDoesNotMatch" if self.endpoint.is_some() && self.operation != Operation::Stat => {
                "the secret key is wrong: check AWS_SECRET_ACCESS_KEY or the profile; or the server knows no \
                 checksums: AWS_REQUEST_CHECKSUM_CALCULATION=when_required is for those"
                    .to_owned()
            }
            "SignatureDoesNotMatch" => {
                "the secret key is wrong: check AWS_SECRET_ACCESS_KEY or the profile".to_owned()
            }
            "InvalidObjectState" => {
                "the object is archived: restore it first, as with `aws s3api restore-object`".to_owned()
            }
            "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                match region {
                    Some(region) => format!("the bucket `{bucket}` is in the region {region}: set the option region"),
                    None => format!("the bucket `{bucket}` is in another region: set the option region"),
                }
            }
            "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "TooManyRequests" | "RequestLimitExceeded" => {
                "the server asks for fewer requests: try again later".to_owned()
            }
            "KeyTooLongError" => "the name is too long for the server".to_owned(),
            "EntityTooLarge" => "the object is larger than the server takes".to_owned(),
            _ => match status {
                301 | 307 => match region {
                    Some(region) => format!("the bucket `{bucket}` is in the region {region}: set the option region"),
                    None => format!("the bucket `{bucket}` is elsewhere: set the options region or endpoint"),
                },
                401 | 403 => self.permission_hint(),
                429 => "the server asks for fewer requests: try again later".to_owned(),
                507 => "free some space on the server, or ask for a larger quota".to_owned(),
                _ => return None,
            },
        })
    }

    fn permission_hint(self) -> String {
        let bucket = self.bucket;
        match self.operation {
            Operation::Stat | Operation::Get => format!(
                "check that the credentials allow s3:GetObject there, and s3:ListBucket on the bucket `{bucket}`: \
                 without that a missing object is refused too"
            ),
            Operation::List => {
                format!("check that the credentials allow s3:ListBucket on the bucket `{bucket}`")
            }
            Operation::Delete => {
                format!("check that the credentials allow s3:DeleteObject in the bucket `{bucket}`")
            }
            Operation::Abort | Operation::Sweep => {
                format!("check that the credentials allow s3:AbortMultipartUpload in the bucket `{bucket}`")
            }
            _ => format!("check that the credentials allow s3:PutObject in the bucket `{bucket}`"),
        }
    }
}

/// The kind of error that an answer means. Codes: "List of error codes" in the Amazon S3 API Reference.
fn kind(status: u16, code: &str) -> ErrorKind {
    match code {
        "NoSuchBucket" => ErrorKind::RootMissing,
        "NoSuchKey" | "NoSuchVersion" => ErrorKind::NotFound,
        "PreconditionFailed" => ErrorKind::AlreadyExists,
        "ConditionalRequestConflict" | "OperationAborted" | "NoSuchUpload" => ErrorKind::Conflict,
        "RequestTimeTooSkewed"
        | "InvalidAccessKeyId"
        | "InvalidToken"
        | "InvalidTokenId"
        | "ExpiredToken"
        | "TokenRefreshRequired"
        | "ExpiredTokenException"
        | "SignatureDoesNotMatch"
        | "InvalidClientTokenId" => ErrorKind::Unauthenticated,
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "ServiceUnavailable" => ErrorKind::RateLimited,
        "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" => {
            ErrorKind::Integrity
        }
        "RequestTimeout" | "IncompleteBody" | "InternalError" | "ClientDisconnected" => {
            ErrorKind::Unavailable
        }
        "InvalidObjectState" => ErrorKind::PermissionDenied,
        "KeyTooLongError"
        | "InvalidBucketName"
        | "EntityTooLarge"
        | "InvalidArgument"
        | "InvalidStorageClass" => ErrorKind::InvalidInput,
        "NotImplemented" => ErrorKind::Unsupported,
        "XMinioStorageFull" | "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => ErrorKind::NoSpace,
        _ => match status {
            401 => ErrorKind::Unauthenticated,
            403 => ErrorKind::PermissionDenied,
            404 => ErrorKind::NotFound,
            409 => ErrorKind::Conflict,
            412 => ErrorKind::AlreadyExists,
            429 | 503 => ErrorKind::RateLimited,
            501 => ErrorKind::Unsupported,
            507 => ErrorKind::NoSpace,
            500 | 502 | 504.. => ErrorKind::Unavailable,
            _ if is_disconnect(status) => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        },
    }
}

/// Whether the server or a proxy gave up on a connection. After a pause, MinIO answers 499 `ClientDisconnected` to a request
/// that it had not finished.
fn is_disconnect(status: u16) -> bool {
    matches!(status, 408 | 499)
}

/// Whether a retry may succeed although the kind of the error does not say so.
fn is_retryable(status: u16, code: &str) -> bool {
    let passes = [
        // A conditional conflict does not mean that an object exists. Another creator was at work, and may have failed.
        "ConditionalRequestConflict",
        "OperationAborted",
        // The bytes were damaged on their way.
        "BadDigest",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
    ];
    passes.contains(&code) || matches!(status, 500 | 502 | 504)
}

/// Reads `Retry-After`: seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = SystemTime::try_from(DateTime::from_str(text.trim(), Format::HttpDate).ok()?).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conditional_conflict_is_not_exists() {
        assert_eq!(kind(412, "PreconditionFailed"), ErrorKind::AlreadyExists);
        assert_eq!(kind(409, "ConditionalRequestConflict"), ErrorKind::Conflict);
        assert!(is_retryable(409, "ConditionalRequestConflict"));
    }

    #[test]
    fn a_lost_connection_is_retried() {
        for (status, code) in [(499, "ClientDisconnected"), (499, ""), (408, ""), (400, "RequestTimeout")] {
            let error = Error::new(kind(status, code), Operation::Put, "s3://b/k");
            assert!(error.is_retryable(), "{status} {code}");
        }
    }

    #[test]
    fn a_denial_is_never_a_miss() {
        assert_eq!(kind(403, ""), ErrorKind::PermissionDenied);
        assert_eq!(kind(403, "AccessDenied"), ErrorKind::PermissionDenied);
        assert_eq!(kind(404, ""), ErrorKind::NotFound);
        assert_eq!(kind(404, "NoSuchBucket"), ErrorKind::RootMissing);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("3"), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("Fri, 01 Jan 2010 00:00:00 GMT"), Some(Duration::ZERO));
        let year_3000 = retry_after("Wed, 01 Jan 3000 00:00:00 GMT").unwrap();
        assert!(year_3000 > Duration::from_secs(1_000_000_000));
        assert_eq!(retry_after("soon"), None);
    }
}
