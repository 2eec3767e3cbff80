//! Deleting objects.

use google_cloud_gax::options::RequestOptionsBuilder as _;
use larder_backend::{DeleteOptions, Key, Operation, Result};

use crate::context::GcsContext;
use crate::get::generation;

/// Deletes an object. An absent object is a success.
pub(crate) async fn delete(context: &GcsContext, key: &Key, options: &DeleteOptions) -> Result<()> {
    let generation = match &options.if_version {
        Some(version) => Some(generation(version, context, key, Operation::Delete)?),
        None => None,
    };
    let connection = context.connection().await?;
    let location = context.location(key);
    let target = context.target(Operation::Delete, &location);
    let deleted = context
        .retry_budget
        .retrying(|| async {
            let request = connection
                .control
                .delete_object()
                .set_bucket(context.bucket())
                .set_object(context.object(key))
                .set_or_clear_if_generation_match(generation)
                .with_attempt_timeout(context.retry_budget.attempt_timeout());
            context.watched(target, request.send()).await
        })
        .await;
    match deleted {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
