//! Listing objects.

use std::sync::Arc;

use async_trait::async_trait;
use google_cloud_gax::options::RequestOptionsBuilder as _;
use google_cloud_storage::model::ListObjectsResponse;
use larder_backend::{Key, ListOptions, Listed, ObjectStream, Operation, Prefix, Result};
use larder_backend_http::pages::{self, ListingPage, PageSource};

use crate::context::GcsContext;
use crate::get;

/// How many objects a page has at most.
const MAX_PAGE: i32 = 1000;

/// Lists the objects below a prefix, with one request for each page.
pub(crate) fn list(context: Arc<GcsContext>, prefix: &Prefix, options: &ListOptions) -> ObjectStream {
    let prefix = format!("{}{prefix}", context.root.prefix());
    let page_size = options.limit.and_then(|limit| i32::try_from(limit).ok());
    let page_size = page_size.map_or(MAX_PAGE, |limit| limit.clamp(1, MAX_PAGE));
    pages::list(GcsPages { context, prefix, delimiter: options.delimiter, page_size })
}

/// The pages of one listing.
struct GcsPages {
    context: Arc<GcsContext>,
    prefix: String,
    delimiter: bool,
    page_size: i32,
}

#[async_trait]
impl PageSource for GcsPages {
    async fn fetch(&self, token: Option<&str>) -> Result<ListingPage> {
        let context = &*self.context;
        let connection = context.connection().await?;
        let location = context.to_string();
        let target = context.target(Operation::List, &location);
        let request = || async {
            let request = connection
                .control
                .list_objects()
                .set_parent(context.bucket())
                .set_prefix(&self.prefix)
                .set_delimiter(if self.delimiter { "/" } else { "" })
                .set_page_size(self.page_size)
                .set_page_token(token.unwrap_or_default())
                .with_attempt_timeout(context.retry_budget.attempt_timeout());
            context.watched(target, request.send()).await
        };
        Ok(self.read(context.retry_budget.retrying(request).await?))
    }

    fn location(&self) -> String {
        self.context.to_string()
    }
}

impl GcsPages {
    fn read(&self, response: ListObjectsResponse) -> ListingPage {
        let root = self.context.root.prefix();
        // Names that are not keys, such as a console's folders, are not larder's.
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
