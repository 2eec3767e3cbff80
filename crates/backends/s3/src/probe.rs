//! Finding out whether the server honors `If-None-Match` on writes.

use aws_sdk_s3::primitives::ByteStream;
use larder_backend::Operation;

use crate::context::S3Context;
use crate::precondition::Knowledge;

/// The object that is written for the test. It stays, so that later processes need only one request. Listings omit it.
pub(crate) const PROBE: &str = ".larder/1/create-only";
pub(crate) const PROBE_PREFIXES: [&str; 2] = [".larder/", ".larder/1/"];
const PROBE_TEXT: &str = "written by larder, to see whether this server honors If-None-Match\n";

/// Finds out whether creators of one key exclude each other, once for each process. AWS guarantees it. Some other servers
/// ignore the condition, and overwrite.
pub(crate) async fn create_only_support(context: &S3Context) -> Knowledge {
    let support = &context.create_only;
    let _asking = support.asking.lock().await;
    let known = support.get();
    if !matches!(known, Knowledge::NotAsked | Knowledge::Unknown) {
        return known;
    }
    let found = ask(context).await;
    support.set(found);
    found
}

/// Writes the probe, twice if it did not exist before.
async fn ask(context: &S3Context) -> Knowledge {
    let Ok(connection) = context.connection().await else { return Knowledge::Unknown };
    if connection.endpoint.is_none() {
        return Knowledge::Honored;
    }
    for _ in 0..2 {
        let request = connection
            .client
            .put_object()
            .bucket(&context.config.bucket)
            .key(format!("{}{PROBE}", context.root.prefix()))
            .if_none_match("*")
            .body(ByteStream::from_static(PROBE_TEXT.as_bytes()))
            .set_request_payer(context.request_payer());
        let Err(error) = Box::pin(request.send()).await else { continue };
        let location = context.to_string();
        let failure = context.target(Operation::Put, &location).failure(&error);
        return match failure.status {
            Some(412) => Knowledge::Honored,
            Some(501) => Knowledge::Ignored,
            // The upload itself reports the error.
            _ if failure.error.is_retryable() => Knowledge::Unknown,
            _ => Knowledge::Refused,
        };
    }
    Knowledge::Ignored
}
