//! Errors of the server.

use std::io;

use serde_json::json;

/// An error in Google's format: over HTTP a status with a body of JSON, over gRPC the corresponding status.
///
/// The reasons and texts are those of <https://cloud.google.com/storage/docs/json_api/v1/status-codes>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcsFailure {
    status: u16,
    reason: &'static str,
    message: String,
    /// The type of the wrong part of the request, and its name.
    location: Option<(&'static str, &'static str)>,
    /// In seconds.
    retry_after: Option<u64>,
}

impl GcsFailure {
    /// Creates an error with an HTTP status, a reason and a message.
    pub fn new(status: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), location: None, retry_after: None }
    }

    /// 503, `UNAVAILABLE`.
    pub fn unavailable() -> Self {
        Self::new(503, "backendError", "We encountered an internal error. Please try again.")
    }

    /// 500, `INTERNAL`.
    pub fn internal() -> Self {
        Self::new(500, "internalError", "We encountered an internal error. Please try again.")
    }

    /// 429, `RESOURCE_EXHAUSTED`.
    pub fn too_many_requests() -> Self {
        let message = "The rate of change requests to the object exceeded the rate limit. Please reduce the rate of \
                       create, update, and delete requests.";
        Self::new(429, "rateLimitExceeded", message)
    }

    /// 401, `UNAUTHENTICATED`: the credentials are expired or not valid.
    pub fn unauthenticated() -> Self {
        Self::new(401, "authError", "Invalid Credentials").located("header", "Authorization")
    }

    /// 401, `UNAUTHENTICATED`: there are no credentials.
    pub fn anonymous() -> Self {
        let message = "Anonymous caller does not have storage.objects.get access to the Google Cloud Storage object. \
                       Permission 'storage.objects.get' denied on resource (or it may not exist).";
        Self::new(401, "required", message).located("header", "Authorization")
    }

    /// 403, `PERMISSION_DENIED`.
    pub fn permission_denied() -> Self {
        let message = "tester@larder.iam.gserviceaccount.com does not have storage.objects.create access to the \
                       Google Cloud Storage object. Permission 'storage.objects.create' denied on resource (or it \
                       may not exist).";
        Self::new(403, "forbidden", message)
    }

    /// Asks the client to retry after some seconds: in the header `Retry-After`, over gRPC in a `RetryInfo`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(super) fn located(mut self, kind: &'static str, place: &'static str) -> Self {
        self.location = Some((kind, place));
        self
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid", message)
    }

    pub(super) fn no_bucket() -> Self {
        Self::new(404, "notFound", "The specified bucket does not exist.")
    }

    pub(super) fn no_object(bucket: &str, object: &str) -> Self {
        Self::new(404, "notFound", format!("No such object: {bucket}/{object}"))
    }

    pub(super) fn precondition() -> Self {
        let message = "At least one of the pre-conditions you specified did not hold.";
        Self::new(412, "conditionNotMet", message).located("header", "If-Match")
    }

    /// Creates the answer 304, which has no body.
    pub(super) fn not_modified() -> Self {
        Self::new(304, "notModified", "Not Modified")
    }

    /// Creates the error for an unsupported request. Its text shows that it does not come from Google.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::new(501, "notImplemented", format!("the test server of larder does not support {what}"))
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// In seconds.
    pub(super) fn delay(&self) -> Option<u64> {
        self.retry_after
    }

    /// Returns the body for HTTP.
    pub(super) fn body(&self) -> String {
        let mut detail = json!({ "message": self.message, "domain": "global", "reason": self.reason });
        if let Some((kind, place)) = self.location {
            detail["locationType"] = kind.into();
            detail["location"] = place.into();
        }
        let error = json!({ "code": self.status, "message": self.message, "errors": [detail] });
        json!({ "error": error }).to_string()
    }
}

/// Reports an error of the server's machine, such as a full disk.
impl From<io::Error> for GcsFailure {
    fn from(error: io::Error) -> Self {
        Self::new(500, "internalError", format!("the test server of larder failed: {error}"))
    }
}
