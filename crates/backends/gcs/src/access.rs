//! Checking that an object may be created, without creating it.

use std::sync::Arc;

use larder_backend::{Key, Operation, PutMode, Result};
use serde_json::Value;

use crate::chunk::Chunk;
use crate::context::GcsContext;
use crate::resumable::ResumableSession;
use crate::write::WriteTarget;

/// The permission to create an object.
const CREATE: &str = "storage.objects.create";

/// Checks that an upload of this key may begin.
///
/// The permissions on the bucket do not settle it if they lack the permission: a condition or a managed folder may grant it for
/// some names only. Then an upload is begun and aborted.
pub(crate) async fn check_put(context: &Arc<GcsContext>, key: &Key) -> Result<()> {
    if bucket_allows(context, key).await? != Some(false) {
        return Ok(());
    }
    let target = WriteTarget { context: Arc::clone(context), key: key.clone(), mode: PutMode::Overwrite };
    ResumableSession::begin(target).await?.abort().await
}

/// Asks whether the caller may create objects in the bucket. Returns `None` if the server does not know this request, as some
/// emulators do not.
async fn bucket_allows(context: &GcsContext, key: &Key) -> Result<Option<bool>> {
    let http = &context.connection().await?.http;
    let location = context.location(key);
    let target = context.target(Operation::Put, &location);
    let url = format!("{}/storage/v1/b/{}/iam/testPermissions", http.endpoint, context.config.bucket);
    context
        .retry_budget
        .retrying(|| async {
            let request = http.client().get(&url).query(&[("permissions", CREATE)]);
            let answer = http.send(request, Chunk::default().read_from(0), target).await?;
            match answer.status {
                200 => Ok(held_permissions(&answer.body).map(|held| held.iter().any(|name| name == CREATE))),
                404 | 405 | 501 => Ok(None),
                status => Err(target.answer(status, &answer.headers, &answer.body)),
            }
        })
        .await
}

/// Reads the permissions that the caller has. Google omits an empty list. Returns `None` for another answer.
fn held_permissions(body: &[u8]) -> Option<Vec<Value>> {
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    match answer["permissions"].take() {
        Value::Array(held) => Some(held),
        Value::Null if answer["kind"] == "storage#testIamPermissionsResponse" => Some(Vec::new()),
        _ => None,
    }
}
