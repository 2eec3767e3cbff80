//! Listing.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use futures::stream::{self, StreamExt as _};
use larder_backend::{Error, ErrorKind, Key, ListOptions, Listed, ObjectStream, Operation, Prefix, Result};
use percent_encoding::percent_decode_str;

use crate::backend::Remote;
use crate::get::meta;
use crate::precondition::{PROBE, PROBE_PREFIXES};

/// Lists what is below a prefix, one request for each page of the server's.
pub(crate) fn list(remote: Arc<Remote>, prefix: &Prefix, options: &ListOptions) -> ObjectStream {
    let pages = Pages {
        prefix: format!("{}{prefix}", remote.root()),
        remote,
        delimiter: options.delimiter,
        items: VecDeque::new(),
        next: Next::First,
    };
    stream::unfold(Some(pages), |pages| async move {
        let mut pages = pages?;
        loop {
            if let Some(item) = pages.items.pop_front() {
                return Some((Ok(item), Some(pages)));
            }
            let token = match mem::replace(&mut pages.next, Next::None) {
                Next::First => None,
                Next::After(token) => Some(token),
                Next::None => return None,
            };
            let before = token.clone();
            match pages.fetch(token).await {
                Ok(page) => {
                    if let Err(error) = pages.take(&page, before.as_deref()) {
                        return Some((Err(error), None));
                    }
                }
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
    .boxed()
}

struct Pages {
    remote: Arc<Remote>,
    prefix: String,
    delimiter: bool,
    items: VecDeque<Listed>,
    next: Next,
}

/// The next page.
enum Next {
    First,
    /// By the server's token.
    After(String),
    None,
}

impl Pages {
    async fn fetch(&self, token: Option<String>) -> Result<ListObjectsV2Output> {
        let remote = &*self.remote;
        let connection = remote.connection().await?;
        let location = remote.to_string();
        remote
            .patience
            .retrying(|| async {
                let request = connection
                    .client
                    .list_objects_v2()
                    .bucket(&remote.config.bucket)
                    .prefix(&self.prefix)
                    .set_delimiter(self.delimiter.then(|| "/".to_owned()))
                    // Names of others may hold what XML cannot.
                    .encoding_type(EncodingType::Url)
                    .set_continuation_token(token.clone())
                    .set_request_payer(remote.request_payer());
                let sent = request.send().await;
                sent.map_err(|error| remote.target(Operation::List, &location).failure(&error))
            })
            .await
    }

    /// Takes a page. A listing that breaks off in silence would make something older the newest.
    fn take(&mut self, page: &ListObjectsV2Output, before: Option<&str>) -> Result<()> {
        self.remote.exists();
        let root = self.remote.root();
        // A server that does not know the encoding says so by not naming it.
        let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
        let below = |text: &str| {
            let text = if is_encoded { decode(text) } else { text.to_owned() };
            text.strip_prefix(root).map(str::to_owned)
        };
        // What can be no key of ours (a "folder", a name with control characters) was put there by somebody else.
        let objects = page.contents().iter().filter_map(|object| {
            let key = Key::parse(below(object.key()?)?).ok().filter(|key| key.as_str() != PROBE)?;
            let size = object.size().unwrap_or_default();
            Some(Listed::Object(meta(&key, size, object.last_modified(), object.e_tag())))
        });
        let prefixes = page.common_prefixes().iter().filter_map(|prefix| {
            // Whether there is more in it than the probe only another request could tell; it is larder's own anyway.
            let prefix =
                below(prefix.prefix()?).filter(|prefix| !PROBE_PREFIXES.contains(&prefix.as_str()))?;
            Some(Listed::Prefix(Prefix::parse(prefix).ok()?))
        });
        self.items.extend(objects.chain(prefixes));
        let more = page.is_truncated().unwrap_or_default();
        self.next = match page.next_continuation_token() {
            _ if !more => Next::None,
            Some(token) if Some(token) != before => Next::After(token.to_owned()),
            _ => {
                let error = Error::new(ErrorKind::Unsupported, Operation::List, self.remote.to_string());
                return Err(error.with_source("the server says that there is more, and not where it begins"));
            }
        };
        Ok(())
    }
}

/// Decodes a name of a listing: a space is written as `+`, or as `%20`.
fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once() {
        assert_eq!(decode("a%252Fb%2Bc+d%20e~/h"), "a%2Fb+c d e~/h");
    }
}
