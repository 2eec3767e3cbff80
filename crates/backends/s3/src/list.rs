//! Listing objects.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use larder_backend::{Key, ListOptions, Listed, ObjectStream, Operation, Prefix, Result};
use larder_backend_http::pages::{self, ListingPage, PageSource};
use percent_encoding::percent_decode_str;

use crate::context::S3Context;
use crate::get::meta;
use crate::probe::{PROBE, PROBE_PREFIXES};

/// How many items a page has at most, whatever a request asks for.
const MAX_PAGE: usize = 1000;

/// Lists the objects below a prefix, with one request for each page.
pub(crate) fn list(context: Arc<S3Context>, prefix: &Prefix, options: &ListOptions) -> ObjectStream {
    let prefix = format!("{}{prefix}", context.root.prefix());
    let page_size = options.limit.and_then(|limit| i32::try_from(limit.min(MAX_PAGE)).ok());
    pages::list(S3Pages { context, prefix, delimiter: options.delimiter, page_size })
}

/// The pages of one listing.
struct S3Pages {
    context: Arc<S3Context>,
    prefix: String,
    delimiter: bool,
    /// How many items a page has at most. The server's maximum by default.
    page_size: Option<i32>,
}

#[async_trait]
impl PageSource for S3Pages {
    async fn fetch(&self, token: Option<&str>) -> Result<ListingPage> {
        let context = &*self.context;
        let connection = context.connection().await?;
        let location = context.to_string();
        let request = || async {
            let request = connection
                .client
                .list_objects_v2()
                .bucket(&context.config.bucket)
                .prefix(&self.prefix)
                .set_delimiter(self.delimiter.then(|| "/".to_owned()))
                // The names of foreign objects may have characters that XML cannot express.
                .encoding_type(EncodingType::Url)
                .set_max_keys(self.page_size)
                .set_continuation_token(token.map(str::to_owned))
                .set_request_payer(context.request_payer());
            let sent = Box::pin(request.send()).await;
            sent.map_err(|error| context.target(Operation::List, &location).failure(&error))
        };
        let output = context.retry_budget.retrying(request).await?;
        context.exists();
        Ok(self.read(&output))
    }

    fn location(&self) -> String {
        self.context.to_string()
    }
}

impl S3Pages {
    fn read(&self, output: &ListObjectsV2Output) -> ListingPage {
        // A server that does not support the encoding does not name it in its answer.
        let is_encoded = output.encoding_type() == Some(&EncodingType::Url);
        let below = |name: &str| {
            let name = if is_encoded { decode(name) } else { name.to_owned() };
            self.context.root.strip(&name).map(str::to_owned)
        };
        // Names that are not keys, such as a console's folders, are not larder's.
        let objects = output.contents().iter().filter_map(|object| {
            let key = Key::parse(below(object.key()?)?).ok().filter(|key| key.as_str() != PROBE)?;
            let size = object.size().unwrap_or_default();
            Some(Listed::Object(meta(&key, size, object.last_modified(), object.e_tag())))
        });
        let prefixes = output.common_prefixes().iter().filter_map(|prefix| {
            // The prefix of the probe is larder's own. Only another request could tell whether it has other objects.
            let prefix =
                below(prefix.prefix()?).filter(|prefix| !PROBE_PREFIXES.contains(&prefix.as_str()))?;
            Some(Listed::Prefix(Prefix::parse(prefix).ok()?))
        });
        ListingPage {
            items: objects.chain(prefixes).collect(),
            is_truncated: output.is_truncated().unwrap_or_default(),
            next_token: output.next_continuation_token().map(str::to_owned),
        }
    }
}

/// Decodes a name of a listing, which writes a space as `+` or `%20`.
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
