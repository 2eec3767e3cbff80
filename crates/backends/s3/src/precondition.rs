//! Whether the server honours preconditions on writes.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::primitives::ByteStream;
use larder_backend::Operation;
use tokio::sync::OnceCell;

use crate::backend::Remote;

/// The object that is written to find out. It stays, so that finding out takes one request from the second time on, and
/// is in no listing.
pub(crate) const PROBE: &str = ".larder/1/create-only";
pub(crate) const PROBE_PREFIXES: [&str; 2] = [".larder/", ".larder/1/"];
const PROBE_TEXT: &str = "written by larder, to see whether this server honours If-None-Match\n";

/// What is known of the server.
#[derive(Debug, Default)]
pub(crate) struct Preconditions {
    asked: OnceCell<()>,
    are_ignored: AtomicBool,
}

impl Preconditions {
    /// As far as anybody knows. Asks nothing.
    pub(crate) fn seem_honoured(&self) -> bool {
        !self.are_ignored.load(Ordering::Relaxed)
    }
}

impl Remote {
    /// Whether creators of one key exclude each other. AWS promises it; of other servers some ignore the precondition
    /// and overwrite, so they are asked, once.
    pub(crate) async fn creates_exclusively(&self) -> bool {
        let ask = || async {
            if self.ignores_preconditions().await {
                self.preconditions.are_ignored.store(true, Ordering::Relaxed);
            }
        };
        self.preconditions.asked.get_or_init(ask).await;
        self.preconditions.seem_honoured()
    }

    /// The server has refused a precondition. Says whether that is news.
    pub(crate) fn preconditions_are_refused(&self) -> bool {
        !self.preconditions.are_ignored.swap(true, Ordering::Relaxed)
    }

    async fn ignores_preconditions(&self) -> bool {
        let Ok(connection) = self.connection().await else { return false };
        if connection.endpoint.is_none() {
            return false;
        }
        // The first may create the object; the second never.
        for _ in 0..2 {
            let request = connection
                .client
                .put_object()
                .bucket(&self.config.bucket)
                .key(format!("{}{PROBE}", self.root()))
                .if_none_match("*")
                .body(ByteStream::from_static(PROBE_TEXT.as_bytes()))
                .set_request_payer(self.request_payer());
            let Err(error) = request.send().await else { continue };
            let location = self.to_string();
            let failure = self.target(Operation::Put, &location).failure(&error);
            // Who may not write there, or meets another failure, will hear of it from the upload itself.
            return failure.status == Some(501);
        }
        true
    }
}
