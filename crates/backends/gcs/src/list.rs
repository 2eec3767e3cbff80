//! Listing objects.

use std::sync::Arc;

use async_trait::async_trait;
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_storage::model::ListObjectsResponse;
use larder_backend::{Key, ListOptions, Listed, ObjectStream, Operation, Prefix, Result};
use larder_backend_http::pages::{self, ListingPage, PageSource};

use crate::backend::Remote;
use crate::get;

/// How many objects a page has: the most that the server gives.
const PAGE_SIZE: i32 = 1000;

/// Lists what is below a prefix, with one request for each page.
pub(crate) fn list(remote: Arc<Remote>, prefix: &Prefix, options: &ListOptions) -> ObjectStream {
    let prefix = format!("{}{prefix}", remote.root());
    pages::list(GcsPages { remote, prefix, delimiter: options.delimiter })
}

/// The pages of one listing.
struct GcsPages {
    remote: Arc<Remote>,
    prefix: String,
    delimiter: bool,
}

#[async_trait]
impl PageSource for GcsPages {
    async fn fetch(&self, token: Option<&str>) -> Result<ListingPage> {
        let remote = &*self.remote;
        let connection = remote.connection().await?;
        let location = remote.to_string();
        let target = remote.target(Operation::List, &location);
        let request = || async {
            let request = connection
                .control
                .list_objects()
                .set_parent(remote.bucket())
                .set_prefix(&self.prefix)
                .set_delimiter(if self.delimiter { "/" } else { "" })
                .set_page_size(PAGE_SIZE)
                .set_page_token(token.unwrap_or_default())
                .with_attempt_timeout(remote.patience.attempt_timeout());
            remote.watched(target, request.send()).await
        };
        Ok(self.read(remote.patience.retrying(request).await?))
    }

    fn location(&self) -> String {
        self.remote.to_string()
    }
}

impl GcsPages {
    fn read(&self, response: ListObjectsResponse) -> ListingPage {
        let root = self.remote.root();
        // A name that is no key, such as a console's folder, is not larder's.
        let objects = response.objects.iter().filter_map(|object| {
            let key = Key::parse(object.name.strip_prefix(root)?).ok()?;
            Some(Listed::Object(get::meta_of(&key, object)))
        });
        let prefixes = response
            .prefixes
            .iter()
            .filter_map(|prefix| Some(Listed::Prefix(Prefix::parse(prefix.strip_prefix(root)?).ok()?)));
        let items = objects.chain(prefixes).collect();
        let next_token = Some(response.next_page_token).filter(|token| !token.is_empty());
        ListingPage { items, is_truncated: next_token.is_some(), next_token }
    }
}
