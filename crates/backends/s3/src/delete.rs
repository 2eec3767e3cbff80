//! Deleting objects.

use larder_backend::{DeleteOptions, Error, ErrorKind, Key, Operation, Result, Version};

use crate::context::S3Context;
use crate::get::{is_strong, stat};

/// Deletes an object. An absent object is a success.
///
/// AWS compares `If-Match` with the `ETag` of the object. Most other servers ignore the header on a deletion, so the
/// version is checked here first, and the header is sent in addition.
pub(crate) async fn delete(context: &S3Context, key: &Key, options: &DeleteOptions) -> Result<()> {
    let connection = context.connection().await?;
    let mut if_match = options.if_version.as_ref().map(Version::as_str);
    if let Some(version) = if_match.filter(|_| connection.endpoint.is_some()) {
        if !has_version(context, key, version).await? {
            return Ok(());
        }
        // No server compares a weak `ETag`.
        if_match = if_match.filter(|version| is_strong(Some(version)));
    }
    let deleted = match send(context, key, if_match).await {
        // The server does not know the header, and the version has been checked.
        Err(error) if error.kind() == ErrorKind::Unsupported && connection.endpoint.is_some() => {
            send(context, key, None).await
        }
        // The server may answer in the same way if the object is absent.
        Err(error) if error.kind() == ErrorKind::Conflict && if_match.is_some() => {
            match stat(context, key).await {
                Err(absent) if absent.is_not_found() => Ok(()),
                _ => Err(error),
            }
        }
        deleted => deleted,
    };
    match deleted {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// Whether the object is there. It is an error if it has another version.
async fn has_version(context: &S3Context, key: &Key, version: &str) -> Result<bool> {
    match stat(context, key).await {
        Ok(meta) if meta.version.as_ref().is_some_and(|found| found.as_str() == version) => Ok(true),
        Ok(_) => Err(Error::new(ErrorKind::Conflict, Operation::Delete, context.location(key))),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

async fn send(context: &S3Context, key: &Key, if_match: Option<&str>) -> Result<()> {
    let connection = context.connection().await?;
    let location = context.location(key);
    let target = context.target(Operation::Delete, &location);
    let send = || async {
        let request = connection
            .client
            .delete_object()
            .bucket(&context.config.bucket)
            .key(context.object(key))
            .set_if_match(if_match.map(str::to_owned))
            .set_request_payer(context.request_payer());
        let sent = Box::pin(request.send()).await;
        sent.map_err(|error| {
            let failure = target.failure(&error);
            let is_mismatch = failure.status == Some(412);
            if is_mismatch { failure.into_kind(ErrorKind::Conflict, Operation::Delete) } else { failure }
        })
    };
    context.retry_budget.retrying(send).await.map(drop)
}
